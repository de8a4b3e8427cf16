//! Prometheus text format 0.0.4, as Istio's sidecars serve it. Written by hand: the client libraries at
//! hand write OpenMetrics, whose names and bounds (`le="1.0"`) differ from what Istio's dashboards know.

use std::fmt::{self, Write as _};

use crate::{
    cells::{BOUNDS, Distribution},
    labels::UNKNOWN,
};

/// Content type of a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A scrape under way: families one after the other, each with its series.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// What a family measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// The labels of one series, written once for all families that have them.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    text: String,
}

impl Labels {
    /// Adds a label. An empty value becomes `unknown`.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push_str("=\"");
        let start = self.text.len();
        // Writing to a String does not fail.
        let _ = write!(Escaped(&mut self.text), "{value}");
        if self.text.len() == start {
            self.text.push_str(UNKNOWN);
        }
        self.text.push('"');
    }

    /// Adds a label whose value may be empty.
    pub fn push_optional(&mut self, name: &str, value: Option<impl fmt::Display>) {
        match value {
            Some(value) => self.push(name, value),
            None => {
                let separator = if self.text.is_empty() { "" } else { "," };
                let _ = write!(self.text, "{separator}{name}=\"\"");
            }
        }
    }
}

impl Exposition {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes one sample.
    pub fn sample(&mut self, name: &str, labels: &Labels, value: impl fmt::Display) {
        let Labels { text } = labels;
        let _ = if text.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{text}}} {value}")
        };
    }

    /// Writes one distribution.
    pub(crate) fn distribution(&mut self, name: &str, labels: &Labels, values: &Distribution) {
        let Labels { text } = labels;
        let separator = if text.is_empty() { "" } else { "," };
        let mut count = 0;
        for (index, bucket) in values.buckets.iter().enumerate() {
            count += bucket;
            let _ = match BOUNDS.get(index) {
                Some(bound) => writeln!(
                    self.text,
                    "{name}_bucket{{{text}{separator}le=\"{}\"}} {count}",
                    Thousandths(*bound)
                ),
                None => {
                    writeln!(self.text, "{name}_bucket{{{text}{separator}le=\"+Inf\"}} {count}")
                }
            };
        }
        let _ = writeln!(self.text, "{name}_sum{{{text}}} {}", Thousandths(values.sum));
        let _ = writeln!(self.text, "{name}_count{{{text}}} {count}");
    }

    /// The text of the scrape.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// Prints a number of thousandths as a decimal number.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => {
                let digits = format!("{rest:03}");
                write!(f, "{}.{}", self.0 / 1000, digits.trim_end_matches('0'))
            }
        }
    }
}

/// Escapes a label value on the way.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped_and_never_empty() {
        let mut labels = Labels::default();
        labels.push("a", "x\"y\\z\nw");
        labels.push("b", "");
        labels.push_optional("c", None::<u8>);
        labels.push_optional("d", Some(7));
        let mut exposition = Exposition::default();
        exposition.sample("m_total", &labels, 1);
        exposition.sample("n", &Labels::default(), 2);
        insta::assert_snapshot!(exposition.finish(), @r#"
        m_total{a="x\"y\\z\nw",b="unknown",c="",d="7"} 1
        n 2
        "#);
    }

    #[test]
    fn thousandths_print_as_decimals() {
        for (value, text) in [(0, "0"), (500, "0.5"), (1_000, "1"), (1_050, "1.05"), (7, "0.007")] {
            assert_eq!(Thousandths(value).to_string(), text);
        }
    }
}
