//! Jobs.

use super::workload::{at_least, template};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a Job.
pub(super) fn job(spec: &Place<'_>, report: &mut Report) {
    for key in [
        "activeDeadlineSeconds",
        "backoffLimit",
        "completions",
        "parallelism",
        "ttlSecondsAfterFinished",
    ] {
        at_least(spec, key, 0, report);
    }
    if let Some(suspend) = spec.get("suspend").filter(|_| spec.is_true("suspend")) {
        let message = "`suspend` is not supported: jobs start at once";
        report.error_key(codes::UNSUPPORTED, &suspend, message);
    }
    let Some(pod) = template(spec, report) else { return };
    let help = "write `restartPolicy: Never` or `restartPolicy: OnFailure`";
    match pod.get("restartPolicy") {
        None => {
            let message = "pods of a job need a restart policy, since the default is `Always`";
            report.push(
                palisade_types::Diagnostic::error(codes::REQUIRED.id, message)
                    .at(pod.key_span, "`restartPolicy` belongs here")
                    .field(format!("{}.restartPolicy", pod.path))
                    .help(help),
            );
        }
        Some(policy) if policy.node.text() == Some("Always") => {
            let message = "pods of a job are not restarted always: it would never end";
            report.error_help(codes::VALUE, &policy, message, help);
        }
        Some(_) => {}
    }
}
