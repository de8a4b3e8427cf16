//! Attacks on the monitoring port, from a pod of the cluster.

use axum::{Router, body::Body, http::Method};
use tower::ServiceExt;

use super::{super::routes, *};
use crate::testing::{Control, claims_of, token_with};

const POD: &str = "10.244.1.7:41000";
const OURS: &str = "10.244.0.5:15014";

/// What somebody at an address gets.
async fn ask(
    router: &Router,
    from: &str,
    method: Method,
    path: &str,
    tokens: &[&str],
) -> StatusCode {
    let mut request = http::Request::builder().method(method).uri(path);
    for token in tokens {
        request = request.header(HEADER, *token);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let (remote, local) = (from.parse().unwrap(), OURS.parse().unwrap());
    let info = TcpConnectInfo { remote_addr: Some(remote), local_addr: Some(local) };
    request.extensions_mut().insert(info);
    router.clone().oneshot(request).await.unwrap().status()
}

async fn get(router: &Router, from: &str, tokens: &[&str]) -> StatusCode {
    ask(router, from, Method::GET, "/debug/generation", tokens).await
}

fn in_seconds(seconds: i64) -> i64 {
    Timestamp::now().as_second() + seconds
}

fn good(account: &str) -> String {
    token_with("istio-system", account, AUDIENCE, in_seconds(600))
}

#[tokio::test]
async fn who_may_ask_is_decided_for_every_page() {
    let control = Control::start(&[]).await;
    let (reader, operator) = (good(READER), good(OPERATOR));
    let (mut anybody, mut operators) = (Vec::new(), Vec::new());
    for (pattern, needed, _) in routes() {
        let path =
            pattern.replace("{namespace}", "shop").replace("{pod}", "web").replace("{id}", "1");
        for method in [Method::GET, Method::POST] {
            let is_let_in = async |from: &str, tokens: &[&str]| {
                let status = ask(&control.router, from, method.clone(), &path, tokens).await;
                status != StatusCode::UNAUTHORIZED
            };
            let got = [
                is_let_in(POD, &[]).await,
                is_let_in(POD, &[&reader]).await,
                is_let_in(POD, &[&operator]).await,
            ];
            let wanted = [Access::Anybody, Access::Reader, Access::Operator].map(|it| it >= needed);
            assert_eq!(got, wanted, "{method} {pattern}");
            assert!(is_let_in("127.0.0.1:4000", &[]).await, "{method} {pattern} from loopback");
        }
        match needed {
            Access::Anybody => anybody.push(pattern),
            Access::Reader => {}
            Access::Operator => operators.push(pattern),
        }
    }
    assert_eq!(anybody, ["/metrics", "/version", "/ready"], "all else tells of the mesh");
    assert_eq!(operators, ["/debug/ca/rotate"]);
}

#[tokio::test]
async fn a_pod_without_the_right_token_learns_nothing() {
    let control = Control::start(&[]).await;
    let router = &control.router;
    let with = |namespace: &str, account: &str, audience: &str, seconds: i64| {
        token_with(namespace, account, audience, in_seconds(seconds))
    };
    let reader = good(READER);
    for (what, token) in [
        ("no token of the cluster", "x.y.z".to_owned()),
        ("an empty one", String::new()),
        ("a sidecar's audience", with("istio-system", READER, "istio-ca", 600)),
        ("the API's audience", with("istio-system", READER, "https://kubernetes.default.svc", 600)),
        ("another account", with("istio-system", "istiod", AUDIENCE, 600)),
        ("another namespace", with("shop", READER, AUDIENCE, 600)),
        ("its time is over", with("istio-system", READER, AUDIENCE, -1)),
        ("an oversized one", format!("{reader}{}", "x".repeat(MAX_TOKEN))),
    ] {
        assert_eq!(get(router, POD, &[&token]).await, StatusCode::UNAUTHORIZED, "{what}");
    }
    assert_eq!(get(router, POD, &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(router, POD, &[&reader, &reader]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(router, POD, &[&reader]).await, StatusCode::OK);
    for (from, status) in [
        ("127.0.0.2:1", StatusCode::OK),
        ("[::1]:1", StatusCode::OK),
        ("[::ffff:127.0.0.1]:1", StatusCode::OK),
        ("10.244.0.5:1", StatusCode::OK),
        ("[::ffff:10.244.0.5]:1", StatusCode::OK),
        ("10.244.0.6:15014", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(get(router, from, &[]).await, status, "{from}");
    }
}

#[test]
fn a_review_holds_for_a_minute_and_not_beyond_the_token() {
    let mut reviewed = Reviewed::default();
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut keep = |key: &str, left: Option<u64>| {
        let left = left.map(Duration::from_secs);
        reviewed.keep(key.to_owned(), Access::Reader, start, left);
    };
    keep("long", Some(600));
    keep("short", Some(20));
    keep("unknown", None);
    for (key, after, known) in [
        ("long", 59, true),
        ("long", 60, false),
        ("short", 19, true),
        ("short", 20, false),
        ("unknown", 0, false),
        ("other", 0, false),
    ] {
        assert_eq!(reviewed.find(key, start + second * after).is_some(), known, "{key} {after}");
    }
    for key in 0..1000 {
        reviewed.keep(key.to_string(), Access::Reader, start, Some(KEPT));
        assert!(reviewed.0.len() <= MOST);
    }
}

#[test]
fn what_a_token_has_left_is_what_it_says() {
    let now = Timestamp::from_second(1000).unwrap();
    for (token, seconds) in [
        (token_with("a", "b", "c", 1030), Some(30)),
        (token_with("a", "b", "c", 1000), Some(0)),
        (token_with("a", "b", "c", 999), None),
        ("no.token".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(left(&token, now), seconds.map(Duration::from_secs), "{token}");
    }
}

#[tokio::test]
async fn good_tokens_are_reviewed_once_and_refused_ones_each_time() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let review = move |token: &str| {
        *count.lock() += 1;
        claims_of(token)
    };
    let authenticator = Authenticator::Function(Arc::new(review));
    let guard = Guard::new(authenticator, "istio-system", Arc::default());
    for (token, reviews) in [
        (good(READER), 1),
        (token_with("shop", READER, AUDIENCE, in_seconds(600)), 3),
        ("x".to_owned(), 3),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, token.parse().unwrap());
        *asked.lock() = 0;
        for _ in 0..3 {
            drop(guard.access(&headers).await);
        }
        assert_eq!(*asked.lock(), reviews, "{token}");
    }
}
