//! Requests with tokens of end users.

use palisade_jwt::Signer;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::support::{Answer, Pair, Server, application, ask, echo, field, get, policy};

const ISSUER: &str = "https://issuer.example";

fn rule(signer: &Signer) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks": signer.jwks(),
        "outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}],
    })
}

async fn pair(rule: Value, policies: Vec<Value>) -> Pair {
    let server = Server { tokens: Some(rule), policies, ..Server::default() };
    Pair::new(&server, "HTTP", application(echo).await)
}

async fn with_token(stream: &mut TcpStream, path: &str, token: &str) -> Answer {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: backend\r\nauthorization: Bearer {token}\r\n\
         x-user: root\r\n\r\n"
    );
    ask(stream, &request).await
}

#[tokio::test]
async fn a_bad_token_is_refused_and_a_missing_one_is_not() {
    let signer = Signer::generate();
    let pair = pair(rule(&signer), Vec::new()).await;
    let mut stream = pair.connect().await;
    let forged = Signer::generate().sign(&json!({"iss": ISSUER}));
    for (token, status, reason) in [
        (forged, 401, "Jwt verification fails"),
        (signer.sign(&json!({"iss": ISSUER, "exp": 1})), 401, "Jwt is expired"),
        (signer.sign(&json!({"iss": "other"})), 401, "Jwt issuer is not configured"),
    ] {
        let got = with_token(&mut stream, "/a?b", &token).await;
        assert_eq!((got.status(), got.body.as_str()), (status, reason));
        assert_eq!(
            field(&got.head, "www-authenticate"),
            Some("Bearer realm=\"http://backend/a\", error=\"invalid_token\"")
        );
    }
    let forged = "GET / HTTP/1.1\r\nhost: backend\r\nx-user: root\r\n\r\n";
    let got = ask(&mut stream, forged).await;
    assert_eq!(got.status(), 200);
    assert_eq!(field(&got.body, "x-user"), None, "only a claim says who the user is");
}

#[tokio::test]
async fn claims_reach_policies_and_application_and_the_token_does_not() {
    let signer = Signer::generate();
    let readers = json!({"rules": [{
        "from": [{"source": {"requestPrincipals": [format!("{ISSUER}/ann")]}}],
        "when": [{"key": "request.auth.claims[scope]", "values": ["read"]}],
    }]});
    let pair = pair(rule(&signer), vec![policy("readers", &readers)]).await;
    let mut stream = pair.connect().await;
    let ann = signer.sign(&json!({"iss": ISSUER, "sub": "ann", "scope": "read write"}));
    let got = with_token(&mut stream, "/", &ann).await;
    assert_eq!(got.status(), 200, "{got:?}");
    assert_eq!(field(&got.body, "x-user"), Some("ann"));
    assert_eq!(field(&got.body, "authorization"), None);
    let got = ask(&mut stream, &get(&format!("/p?a=b&access_token={ann}"))).await;
    assert_eq!(got.status(), 200, "{got:?}");
    assert!(got.body.starts_with("GET /p?a=b HTTP/1.1\r\n"), "{}", got.body);
    for claims in [
        json!({"iss": ISSUER, "sub": "bob", "scope": "read"}),
        json!({"iss": ISSUER, "sub": "ann", "scope": "write"}),
    ] {
        let got = with_token(&mut stream, "/", &signer.sign(&claims)).await;
        assert_eq!((got.status(), got.body.as_str()), (403, "RBAC: access denied"), "{claims}");
    }
    assert_eq!(ask(&mut stream, &get("/")).await.status(), 403, "no token, no principal");
}

#[tokio::test]
async fn a_token_is_refused_where_the_keys_are_not_known() {
    let pair = pair(json!({"issuer": ISSUER}), Vec::new()).await;
    let token = Signer::generate().sign(&json!({"iss": ISSUER}));
    let got = with_token(&mut pair.connect().await, "/", &token).await;
    assert_eq!((got.status(), got.body.as_str()), (401, "Jwt verification fails"));
}
