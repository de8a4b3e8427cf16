//! Attacks on the way in: pages whose name was made to mean this machine, pages of other ports of it, and requests
//! that say two things at once. The browser is always one that is logged in: it is what they are after.

use axum::http::{Request, StatusCode};

use super::{Browser, json_of};

/// Reads under some `Host`, as the page of it would.
async fn read_under(browser: &Browser, host: &str) -> StatusCode {
    browser.send(Request::get("/api/config").header("host", host), "").await.status()
}

/// Writes, from a page, to a console under some `Host`.
async fn write_from(browser: &Browser, origin: Option<&str>, host: &str) -> StatusCode {
    let request = Request::post("/api/explain").header("host", host);
    let request = match origin {
        Some(origin) => request.header("origin", origin),
        None => request,
    };
    let request = request.header("content-type", "application/json");
    browser.send(request, r#"{"from": "none", "to": "api.shop"}"#).await.status()
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_this_machine_gets_nothing() {
    let browser = Browser::logged_in().await;
    for host in [
        "evil.example:20001",
        "evil.example",
        "127.0.0.1.evil.example:20001",
        "localhost.evil.example:20001",
        "localhost:20001.evil.example",
        "evil.example:20001@127.0.0.1",
        "127.0.0.1:20001@evil.example",
        "127.0.0.2:20001",
        "127.1:20001",
        "0.0.0.0:20001",
        "2130706433:20001",
        "[::]:20001",
        "[::1",
        "[::ffff:127.0.0.1]:20001",
        "LOCALHOST:20001",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:+20001",
        "127.0.0.1:70000",
        "127.0.0.1: 20001",
        "127.0.0.1,evil.example:20001",
        "",
    ] {
        let answer = read_under(&browser, host).await;
        assert_eq!(answer, StatusCode::MISDIRECTED_REQUEST, "{host}");
        let origin = format!("http://{host}");
        let answer = write_from(&browser, Some(&origin), host).await;
        assert_eq!(answer, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
}

#[tokio::test]
async fn a_request_with_two_names_gets_nothing() {
    let browser = Browser::logged_in().await;
    let own = "127.0.0.1:20001";
    let two = [
        Request::get("/api/config").header("host", own).header("host", "evil.example"),
        Request::get("/api/config").header("host", "evil.example").header("host", own),
        Request::get("http://evil.example/api/config").header("host", own),
        Request::get(format!("http://{own}/api/config")).header("host", "evil.example"),
        Request::get("/api/config"),
    ];
    for request in two {
        let answer = browser.send(request, "").await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    }
    let absolute = Request::get(format!("http://{own}/api/config")).header("host", own);
    assert_eq!(browser.send(absolute, "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_forwarded_port_is_as_good_as_the_own_one() {
    for host in ["127.0.0.1:41234", "localhost:41234", "[::1]:41234", "127.0.0.1", "localhost:80"] {
        let browser = Browser::at_console(crate::Changes::Allowed).log_in_under(host).await;
        assert_eq!(read_under(&browser, host).await, StatusCode::OK, "{host}");
        let own = format!("http://{host}");
        assert_eq!(write_from(&browser, Some(&own), host).await, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn nobody_writes_but_the_pages_of_this_very_address() {
    let browser = Browser::logged_in().await;
    for origin in [
        "http://evil.example",
        "http://evil.example:20001",
        "https://127.0.0.1:20001",
        "http://127.0.0.1:8080",
        "http://127.0.0.1",
        "http://localhost:20001",
        "http://[::1]:20001",
        "http://127.0.0.1:20001.evil.example",
        "http://127.0.0.1:20001/",
        "null",
        "",
    ] {
        let answer = write_from(&browser, Some(origin), "127.0.0.1:20001").await;
        assert_eq!(answer, StatusCode::FORBIDDEN, "{origin}");
    }
    let answer = write_from(&browser, None, "127.0.0.1:20001").await;
    assert_eq!(answer, StatusCode::FORBIDDEN, "a form of a browser that says no origin");
}

/// To cookies all ports of this machine are one site, so that the session comes with what another port's page
/// asks for. It may not read the answer; nor may it make the console work, and hold its places for logs.
#[tokio::test]
async fn pages_of_other_ports_can_not_even_ask() {
    let browser = Browser::logged_in().await;
    let ask = async |path: &str, site: &str| {
        let request = Request::get(path).header("host", "127.0.0.1:20001");
        browser.send(request.header("sec-fetch-site", site), "").await.status()
    };
    let logs = "/api/logs?namespace=shop&pod=api&container=app";
    for site in ["same-site", "cross-site", "something-new"] {
        for path in ["/api/config", "/api/events", logs] {
            assert_eq!(ask(path, site).await, StatusCode::FORBIDDEN, "{path} {site}");
        }
        assert_ne!(ask("/", site).await, StatusCode::FORBIDDEN, "a link to a page may be followed");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(ask("/api/config", site).await, StatusCode::OK, "{site}");
    }
}

/// Cookies know no ports: the browser sends those of both consoles to both.
#[tokio::test]
async fn two_consoles_in_a_browser_keep_their_sessions() {
    let one = Browser::logged_in().await;
    let other = Browser::new().log_in_under("127.0.0.1:41234").await;
    assert_ne!(one.cookie.split('=').next(), other.cookie.split('=').next());
    let both = format!("{}; {}", one.cookie, other.cookie);
    let (one, other) = (one.with_cookie(&both), other.with_cookie(&both));
    assert_eq!(read_under(&one, "127.0.0.1:20001").await, StatusCode::OK);
    assert_eq!(read_under(&other, "127.0.0.1:41234").await, StatusCode::OK);
    // A session of one is none of the other, whatever it is called.
    let renamed = format!("palisade-20001={}", other.cookie.rsplit('=').next().unwrap());
    let impostor = one.with_cookie(&renamed);
    assert_eq!(read_under(&impostor, "127.0.0.1:20001").await, StatusCode::UNAUTHORIZED);
    let config = Request::get("/api/config").header("host", "127.0.0.1:20001");
    assert_eq!(json_of(one.send(config, "").await).await["readOnly"], false);
}
