//! The forms that names must have.

/// A form of names, with the words that Kubernetes uses for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    fits: fn(&str) -> bool,
    /// What the form is, for help texts.
    pub(super) rule: &'static str,
}

impl Form {
    pub(super) fn fits(self, name: &str) -> bool {
        (self.fits)(name)
    }
}

/// Names of most objects.
pub(super) const SUBDOMAIN: Form = Form {
    fits: is_subdomain,
    rule: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
           or '.', and must start and end with an alphanumeric character (e.g. 'example.com')",
};

/// Names of namespaces and containers.
pub(super) const LABEL: Form = Form {
    fits: is_label,
    rule: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
           and must start and end with an alphanumeric character (e.g. 'my-name'), and has at most \
           63 characters",
};

/// Names of services.
pub(super) const SERVICE: Form = Form {
    fits: |name| is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
    rule: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
           an alphabetic character, and end with an alphanumeric character (e.g. 'my-name')",
};

/// Names of container ports.
pub(super) const PORT: Form = Form {
    fits: |name| {
        name.len() <= 15
            && is_label(name)
            && !name.contains("--")
            && name.bytes().any(|byte| byte.is_ascii_lowercase())
    },
    rule: "a port name has at most 15 lower case alphanumeric characters or single '-', and at \
           least one letter",
};

/// Keys of labels and annotations.
pub(super) const LABEL_KEY: Form = Form {
    fits: is_label_key,
    rule: "a key is up to 63 alphanumeric characters, '-', '_' or '.', and may have a DNS prefix \
           (e.g. 'example.com/my-name')",
};

/// Values of labels.
pub(super) const LABEL_VALUE: Form = Form {
    fits: |value| value.is_empty() || is_qualified(value),
    rule: "a label value is empty or up to 63 alphanumeric characters, '-', '_' or '.', and starts \
           and ends with an alphanumeric character",
};

/// Keys of ConfigMaps and Secrets.
pub(super) const CONFIG_KEY: Form = Form {
    fits: |key| {
        (1..=253).contains(&key.len())
            && key.bytes().all(is_word)
            && key != "."
            && !key.starts_with("..")
    },
    rule: "a key consists of alphanumeric characters, '-', '_' or '.'",
};

/// Names of environment variables.
pub(super) const ENVIRONMENT: Form = Form {
    fits: |name| {
        !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
    },
    rule: "a variable name consists of printable ASCII characters other than '='",
};

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| is_edged(part, |byte| is_lower(byte) || byte == b'-'))
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_edged(name, |byte| is_lower(byte) || byte == b'-')
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(key),
    }
}

fn is_qualified(name: &str) -> bool {
    name.len() <= 63 && is_edged(name, is_word)
}

/// Non-empty, of these characters, with an alphanumeric one at both ends.
fn is_edged(name: &str, allowed: fn(u8) -> bool) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| allowed(*byte))
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_take_and_refuse() {
        let long = "a".repeat(64);
        for (form, sound, broken) in [
            (SUBDOMAIN, vec!["a", "a-b.c1", "1"], vec!["", "A", "a_b", "-a", "a.", "a..b", "a.-b"]),
            (LABEL, vec!["a", "1-a"], vec!["", "a.b", "a-", &long]),
            (SERVICE, vec!["a", "a-1"], vec!["1a", "", "a-", "A"]),
            (PORT, vec!["http", "h2"], vec!["80", "a--b", "abcdefghijklmnop", "Http", ""]),
            (LABEL_KEY, vec!["a", "a.b/c_D"], vec!["", "a/b/c", "/a", "a/", "A.b/c", &long]),
            (LABEL_VALUE, vec!["", "a_B.c-1"], vec!["-a", "a b", "a/b", &long]),
            (CONFIG_KEY, vec!["a.yaml", ".a", "_"], vec!["", ".", "..", "..a", "a/b"]),
            (ENVIRONMENT, vec!["A", "a.b-c"], vec!["", "a=b", "a\n", "ä"]),
        ] {
            for name in sound {
                assert!(form.fits(name), "{name}: {}", form.rule);
            }
            for name in broken {
                assert!(!form.fits(name), "{name}: {}", form.rule);
            }
        }
    }
}
