//! `identity`: who a pod is, by the certificate that its sidecar really presents, and how that goes on.

use std::io::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::proxy_config::{dump, percent_left};
use crate::{
    CliError, Mesh, Style,
    args::{Format, SidecarArgs},
    error::During,
    output::remaining,
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &SidecarArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let dump = dump(mesh, &args.target, args.namespace.as_deref()).await?;
    let (certificate, now) = (&dump["certificate"], Timestamp::now());
    if args.output == Format::Json {
        let document = json!({
            "certificate": certificate,
            "percentLeft": percent_left(certificate, now),
            "renewalError": dump["renewalError"],
        });
        writeln!(out, "{document:#}").during("print")?;
    } else {
        out.write_all(told(&dump, now).as_bytes()).during("print")?;
    }
    match percent_left(certificate, now) {
        Some(1..) => Ok(()),
        Some(_) | None => Err(CliError::Reported),
    }
}

fn told(dump: &Value, now: Timestamp) -> String {
    let certificate = &dump["certificate"];
    let error = dump["renewalError"].as_str();
    let renewal = match error {
        Some(error) => Style::Bad.paint(&format!("fails: {error}")),
        None => "at half of what is left when it came".to_owned(),
    };
    let Some(identity) = certificate["identity"].as_str() else {
        return format!(
            "Identity: {}\nRenewal:  {renewal}\n",
            Style::Bad.paint("no certificate yet")
        );
    };
    let text = |key: &str| certificate[key].as_str().unwrap_or_default();
    let left = remaining(text("notAfter"), now);
    let percent = percent_left(certificate, now).unwrap_or_default();
    let roots = certificate["roots"].as_array().map(Vec::len).unwrap_or_default();
    format!(
        "Identity: {identity}\n\
         Serial:   {}\n\
         Valid:    {} to {}\n\
         Left:     {left} ({percent} %)\n\
         Issuer:   {}\n\
         Roots:    {roots} ({})\n\
         Renewal:  {renewal}\n",
        text("serial"),
        text("notBefore"),
        text("notAfter"),
        text("issuer"),
        text("rootsFingerprint"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_says_what_is_left_and_why_it_is_not_renewed() {
        let now = "2026-01-01T18:00:00Z".parse().unwrap();
        let dump = json!({
            "certificate": {
                "identity": "spiffe://cluster.local/ns/shop/sa/web", "serial": "a1", "issuer": "0b",
                "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-01-02T00:00:00Z",
                "roots": [{}], "rootsFingerprint": "0c",
            },
            "renewalError": "the control plane does not answer",
        });
        let none = json!({"certificate": null, "renewalError": null});
        let printed = [told(&dump, now), told(&none, now)].join("\n");
        insta::assert_snapshot!(anstream::adapter::strip_str(&printed));
    }
}
