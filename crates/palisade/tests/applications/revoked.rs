//! What is open when a policy changes, held by clients that are not ours.

use palisade_testkit::Mesh;

use super::Held;

const NOBODY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: apps}
spec:
  selector: {matchLabels: {app: server}}
  action: DENY
  rules: [{}]
";

pub(crate) fn ends_with_its_permission(mesh: &Mesh) {
    let held = Held::start(mesh, include_str!("held.py"));
    mesh.apply(NOBODY).ok();
    let wanted =
        "PERMISSION_DENIED RBAC: access denied\nwithout a word of the server None\nreset\n";
    assert_eq!(held.rest(), wanted);
}
