//! What a container may use of the machine, from its `resources`. Pure.

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

/// Limits and shares of one container; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
    /// Thousandths of a processor that it asks for, which weigh when processors are short.
    pub cpu_request: Option<u64>,
}

impl Limits {
    /// The limits that a container's object says.
    pub(crate) fn of(container: &Container) -> Self {
        let Some(resources) = &container.resources else { return Self::default() };
        let ResourceRequirements { limits, requests, .. } = resources;
        let get = |map: &Option<std::collections::BTreeMap<String, Quantity>>, key: &str| {
            map.as_ref()?.get(key).and_then(thousandths)
        };
        let cpu = get(limits, "cpu");
        Self {
            memory: get(limits, "memory").map(|bytes| bytes.div_ceil(1000)),
            cpu,
            cpu_request: get(requests, "cpu").or(cpu),
        }
    }
}

/// A quantity such as `100m`, `0.5` or `64Mi` in thousandths, rounded up; none if it is no number.
pub(crate) fn thousandths(Quantity(text): &Quantity) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'));
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "Ki" => 1e3 * 2_f64.powi(10),
        "Mi" => 1e3 * 2_f64.powi(20),
        "Gi" => 1e3 * 2_f64.powi(30),
        "Ti" => 1e3 * 2_f64.powi(40),
        "Pi" => 1e3 * 2_f64.powi(50),
        exponent => 1e3 * 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = (number * factor).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    (0.0..1.8e19).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_kubernetes() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("64Mi", Some(67_108_864_000)),
            ("1e3", Some(1_000_000)),
            ("12E2", Some(1_200_000)),
            ("5M", Some(5_000_000_000)),
            ("1n", Some(1)),
            ("0", Some(0)),
            ("-1", None),
            ("1 Gi", None),
            ("much", None),
            ("", None),
            ("1e999", None),
        ] {
            assert_eq!(thousandths(&Quantity(text.to_owned())), expected, "{text}");
        }
    }

    #[test]
    fn a_limit_is_a_request_too() {
        let limits = |resources| {
            let container = json!({"name": "c", "resources": resources});
            Limits::of(&serde_json::from_value(container).unwrap())
        };
        let both = json!({"limits": {"cpu": "2", "memory": "1Ki"}, "requests": {"cpu": "100m"}});
        let expected = Limits { memory: Some(1024), cpu: Some(2000), cpu_request: Some(100) };
        assert_eq!(limits(both), expected);
        assert_eq!(limits(json!({"limits": {"cpu": "1"}})).cpu_request, Some(1000));
        assert_eq!(limits(json!({})), Limits::default());
    }
}
