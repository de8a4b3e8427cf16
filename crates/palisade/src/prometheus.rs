//! Asks a Prometheus server, over the host's network: the console lives in the mesh's, from where nothing outside
//! is reached.

use std::{fmt::Display, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use palisade_console::{Answer, LongHistory, SampleSeries, Steps, ViewError};
use palisade_telemetry::SampleLabels;
use palisade_tls::HttpsConnector;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// A Prometheus server.
#[derive(Clone, Debug)]
pub(crate) struct Prometheus {
    url: Uri,
    /// Runs in the host's network.
    host: Handle,
}

/// What `/api/v1/query_range` answers.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    metric: SampleLabels,
    /// Seconds since 1970, and a number as text.
    values: Vec<(f64, String)>,
}

impl Prometheus {
    /// The server at a URL that `up` has taken.
    pub(crate) fn new(url: Uri, host: Handle) -> Self {
        Self { url, host }
    }

    async fn ask(&self, query: &str, over: Steps) -> Result<Vec<SampleSeries>, String> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .append_pair("start", &over.from.to_string())
            .append_pair("end", &over.to.to_string())
            .append_pair("step", &over.step.to_string())
            .finish();
        let (status, body) = timeout(LIMIT, self.post(form))
            .await
            .map_err(|_| format!("no answer within {LIMIT:?}"))??;
        let reply: Reply = serde_json::from_slice(&body)
            .map_err(|_| format!("it answered {status}, and not as a Prometheus does"))?;
        match (reply.data, reply.error) {
            (Some(data), None) => Ok(data.result.into_iter().map(series).collect()),
            (_, error) => Err(error.unwrap_or_else(|| status.to_string())),
        }
    }

    async fn post(&self, form: String) -> Result<(StatusCode, Bytes), String> {
        let https = self.url.scheme_str() == Some("https");
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        if !https {
            return self.exchange(stream, form).await;
        }
        let connector = HttpsConnector::of_system(&["http/1.1"]).map_err(|it| it.to_string())?;
        let stream = connector.connect(stream, host).await;
        self.exchange(stream.map_err(|error| format!("TLS: {error}"))?, form).await
    }

    async fn exchange<IO>(&self, io: IO, form: String) -> Result<(StatusCode, Bytes), String>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let words = |error: &dyn Display| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(|error| words(&error))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = self.url.path().trim_end_matches('/');
        let request = Request::post(format!("{path}/api/v1/query_range"))
            .header(HOST, self.url.authority().map_or("", |it| it.as_str()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| words(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| words(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
        Ok((status, body.map_err(|error| words(&error))?.to_bytes()))
    }
}

impl LongHistory for Prometheus {
    fn name(&self) -> String {
        format!("Prometheus at {}", self.url)
    }

    fn ask<'a>(&'a self, query: &'a str, over: Steps) -> Answer<'a, Vec<SampleSeries>> {
        let (this, query) = (self.clone(), query.to_owned());
        let asked = self.host.spawn(async move { this.ask(&query, over).await });
        Box::pin(async move {
            let answer = asked.await.map_err(|error| ViewError::Unavailable(error.to_string()))?;
            answer.map_err(|why| {
                ViewError::Unavailable(format!(
                    "the Prometheus at {} can't be asked: {why}",
                    self.url
                ))
            })
        })
    }
}

fn series(found: Found) -> SampleSeries {
    let value = |(time, value): (f64, String)| Some((time, value.parse().ok()?));
    SampleSeries {
        labels: found.metric,
        values: found.values.into_iter().filter_map(value).collect(),
    }
}

/// All series of a large mesh over many steps.
const MAX_BODY: usize = 256 << 20;
const LIMIT: Duration = Duration::from_secs(30);
