//! Query strings.

/// Decoded parameters in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).collect()
    }

    /// Whether one of the names is set to true: the API server says `stdin=true` where the
    /// kubelet says `input=1`.
    pub(crate) fn is_set(&self, names: [&str; 2]) -> bool {
        self.iter().any(|(name, value)| names.contains(&name) && matches!(value, "1" | "true"))
    }
}

/// Undoes percent-encoding; what is not encoded well stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let digits = tail.first_chunk::<2>().filter(|_| *byte == b'%');
        let value =
            digits.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*byte));
        rest = if value.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query =
            Query::parse("command=sh&command=-c&command=echo%20a+b%2Bc&input=1&tty=false&%zz");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a b+c"]);
        assert!(query.is_set(["stdin", "input"]) && !query.is_set(["tty", "tty"]));
        assert_eq!(query.all("%zz"), [""]);
    }
}
