//! In the sidecar's place: a program that listens where the sidecar does.

use palisade_testkit::Mesh;

use crate::{
    escape::{background, line},
    reach::{address, reach},
};

pub(crate) fn gets_nothing(mesh: &Mesh) {
    // Where there is no sidecar, it is heard.
    let (mut open, mut output) =
        background(mesh, "intruder.poc-mesh", include_str!("impostor.py"), &["15006"]);
    assert_eq!(line(&mut output), "listening");
    let intruder = address(mesh, "intruder");
    let heard = reach(mesh, "intruder.poc-mesh", &[["GET /enough", "tcp", &intruder, "15006"]]);
    assert!(heard.ends_with("HTTP/1.1 200 stolen\n"), "{heard}");
    open.wait().unwrap();

    // Where user ids differ, the port is refused; where they don't, the rules cut it off.
    let (mut stealing, mut output) =
        background(mesh, "disguised.poc-mesh", include_str!("impostor.py"), &["15006"]);
    assert_eq!(line(&mut output), "listening");
    let disguised = address(mesh, "disguised");
    let attempt = ["GET /", "tcp", &disguised, "8080"];
    let heard = reach(mesh, "intruder.poc-mesh", &[attempt; 4]);
    assert_eq!(heard.lines().count(), 4, "{heard}");
    assert!(!heard.contains("HTTP/1.1"), "{heard}");
    let _ = stealing.kill();
    stealing.wait().unwrap();
}
