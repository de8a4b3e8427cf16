//! HTTP/1.1 in all its ways, WebSocket, and curl in three versions.

use palisade_testkit::Mesh;

use super::{CALLER, STRANGER, exec};

const ALLOWED: &str = "\
interim ([103], 200)
waits (100, 200, 4, None)
early (413, 'too large')
both_ways (200, ['first', 'second', 'third'], [('x-sum', '42')])
trailers (200, 100, [])
half_closed 200
pipelined ['/1', '/2', '/3']
without_body (200, 0, 200)
absolute (200, '/absolute?x=1', 'server.apps')
tunnel 404
";

const DENIED: &str = "\
interim ([], 403)
waits (100, 403, None, None)
early (403, 'RBAC: access denied')
both_ways 403
trailers (403, None, None)
half_closed 403
pipelined [403, 403, 403]
without_body (403, 0, 403)
absolute (403, None, None)
tunnel 404
";

/// Port 80 is declared as HTTP, port 81 is not declared.
pub(crate) fn speaks_http(mesh: &Mesh) {
    for port in ["80", "81"] {
        for (by, wanted) in [(CALLER, ALLOWED), (STRANGER, DENIED)] {
            let got = mesh.python(by, include_str!("ask.py"), &[port.to_owned()]);
            assert_eq!(got, wanted, "{by} port {port}");
        }
    }
}

pub(crate) fn speaks_to_curl(mesh: &Mesh) {
    for (arguments, allowed, denied) in [
        (&["--http1.1", "http://server.apps/"][..], "200", "403"),
        (&["--http2-prior-knowledge", "http://server.apps/"], "200", "403"),
        (&["--http2-prior-knowledge", "http://server.apps:8082/small"], "200", "403"),
        (&["--http1.1", "http://server.apps:8082/small"], "200", "403"),
        // Istio takes HTTP/1.0 for nothing where HTTP is declared, and for opaque bytes where nothing is.
        (&["--http1.0", "http://server.apps/"], "426", "426"),
        (&["--http1.0", "http://server.apps:81/"], "200", "000"),
        (&["--proxy", "http://server.apps:80", "http://server.apps/proxied"], "200", "403"),
        (
            &["-T", "/usr/bin/python3", "-H", "transfer-encoding: chunked", "http://server.apps/"],
            "200",
            "403",
        ),
    ] {
        assert_eq!(mesh.curl(CALLER, arguments).1, allowed, "{arguments:?}");
        assert_eq!(mesh.curl(STRANGER, arguments).1, denied, "{arguments:?}");
    }
    let early = exec(mesh, CALLER, &["curl", "-si", "http://server.apps/hints"]).ok();
    assert!(early.starts_with("HTTP/1.1 103 \r\nlink: </style.css>"), "{early}");
}

/// Port 8765 is declared as HTTP, port 8766 is not declared.
pub(crate) fn speaks_websocket(mesh: &Mesh) {
    let talk = |by: &str| {
        let ports = ["8765", "8766"].map(str::to_owned);
        mesh.python(by, include_str!("talk.py"), &ports)
    };
    assert_eq!(talk(CALLER), "hello\nTrue True\n1000\n".repeat(2));
    assert_eq!(talk(STRANGER), "403 RBAC: access denied\n".repeat(2));
}
