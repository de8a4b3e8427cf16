//! The stream of configurations: each is put in force and acknowledged, or refused with the reason, in which
//! case the last good one stays. Reports go out on the same connection.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_model::ProxyConfig;
use palisade_wire::config::{
    Acknowledge, ClientMessage, Config, ConfigServiceClient, Credential, Message, Subscribe,
};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{error, info, warn};

use super::{Backoff, ControlError, authorized, connect, reports::Reporter};
use crate::{
    ControlPlane,
    active::Active,
    shared::{ApplyError, Shared},
};

/// Longest wait between attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// How often the control plane is told of the certificate and the clock.
const TELL: Duration = Duration::from_secs(5);

/// Largest configuration that is read.
const LARGEST: usize = 64 * 1024 * 1024;

/// Why a configuration is refused.
#[derive(Debug, Error)]
enum Refused {
    #[error("the config can't be read: {0}")]
    Unreadable(serde_json::Error),
    #[error("the config says generation {inside}, its message {outside}")]
    Generation { inside: u64, outside: u64 },
    #[error("the config is for `{0}`, which this is not")]
    SomebodyElse(String),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Follows the stream, and connects again whenever it ends, for ever.
pub(crate) async fn follow_configs(control: ControlPlane, shared: Arc<Shared>) {
    let mut backoff = Backoff::up_to(LONGEST_BACKOFF);
    let mut reporter = Reporter::new(control.clone(), Arc::clone(&shared));
    loop {
        match follow(&control, &shared, &mut reporter, &mut backoff).await {
            Ok(()) => info!("the config stream has ended, connecting again"),
            Err(error) => warn!(%error, "no config stream, connecting again"),
        }
        sleep(backoff.step()).await;
    }
}

async fn follow(
    control: &ControlPlane,
    shared: &Shared,
    reporter: &mut Reporter,
    backoff: &mut Backoff,
) -> Result<(), ControlError> {
    let channel = connect(control, shared).await?;
    tokio::select! {
        ended = receive(control, shared, channel.clone(), backoff) => ended,
        never = reporter.report(&channel) => match never {},
    }
}

async fn receive(
    control: &ControlPlane,
    shared: &Shared,
    channel: Channel,
    backoff: &mut Backoff,
) -> Result<(), ControlError> {
    let (answers, messages) = mpsc::channel(4);
    let subscribe = Subscribe {
        namespace: control.namespace.clone(),
        pod: control.pod.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: shared.active().as_deref().map_or(0, Active::generation),
    };
    // The stream holds the receiver: if it is gone, reading the stream says why.
    let _ = answers.send(message(Message::Subscribe(subscribe))).await;
    let request = authorized(control, ReceiverStream::new(messages))?;
    let mut client = ConfigServiceClient::new(channel).max_decoding_message_size(LARGEST);
    let mut configs = client.stream(request).await?.into_inner();
    let mut generations = shared.credentials.changes();
    let mut renewal = shared.renewal();
    let mut again = interval(TELL);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again.reset();
    loop {
        let told = message(Message::Credential(credential(shared)));
        let _ = answers.send(told).await;
        // Both senders live as long as `shared`. Every branch may be dropped half-way.
        loop {
            tokio::select! {
                config = configs.message() => {
                    let Some(config) = config? else { return Ok(()) };
                    backoff.reset();
                    let answer = answer(control, shared, &config);
                    let _ = answers.send(message(Message::Acknowledge(answer))).await;
                }
                _ = generations.changed() => break,
                _ = renewal.changed() => break,
                _ = again.tick() => break,
            }
        }
    }
}

/// What the control plane is told of our certificate.
fn credential(shared: &Shared) -> Credential {
    let error = shared.renewal().borrow().clone().unwrap_or_default();
    let clock = Timestamp::now().as_millisecond();
    let Some(generation) = shared.credentials.load() else {
        return Credential { error, clock, ..Credential::default() };
    };
    let svid = generation.svid();
    Credential {
        serial: svid.facts.serial.clone(),
        not_before: svid.facts.not_before.as_second(),
        not_after: svid.facts.not_after.as_second(),
        issuer: svid.issuer.clone(),
        roots: generation.bundle().fingerprint(),
        error,
        clock,
    }
}

fn message(message: Message) -> ClientMessage {
    ClientMessage { message: Some(message) }
}

/// Puts a configuration in force, or says why not.
fn answer(control: &ControlPlane, shared: &Shared, config: &Config) -> Acknowledge {
    let error = match put_in_force(control, shared, config) {
        Ok(()) => String::new(),
        Err(refused) => {
            shared.metrics.config_rejected();
            error!(generation = config.generation, reason = %refused, "configuration refused");
            refused.to_string()
        }
    };
    Acknowledge { generation: config.generation, error }
}

fn put_in_force(control: &ControlPlane, shared: &Shared, config: &Config) -> Result<(), Refused> {
    let outside = config.generation;
    let config: ProxyConfig =
        serde_json::from_slice(&config.proxy_config).map_err(Refused::Unreadable)?;
    if config.generation != outside {
        return Err(Refused::Generation { inside: config.generation, outside });
    }
    let workload = &config.workload;
    let identity = &workload.identity;
    if workload.namespace != control.namespace
        || workload.name != control.pod
        || identity.namespace() != control.identity.namespace()
        || identity.service_account() != control.identity.service_account()
    {
        let name = format!("{}.{} ({identity})", workload.name, workload.namespace);
        return Err(Refused::SomebodyElse(name));
    }
    Ok(shared.apply(config)?)
}
