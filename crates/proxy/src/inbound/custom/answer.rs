//! What a provider's answer changes in a request, and what it makes a client see.

use super::{super::judge::is_removed, AskError};

/// Changes that a provider's yes makes. Names are in lower case.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Fields of the request that are replaced.
    pub(crate) set: Vec<(String, Vec<u8>)>,
    /// Fields of the request that are taken out.
    pub(crate) removed: Vec<String>,
    /// Fields that the client gets with the response.
    pub(crate) response: Vec<(String, Vec<u8>)>,
}

impl Changes {
    /// Replaces a field of the request.
    pub(super) fn set(&mut self, name: &str, value: &[u8]) -> Result<(), AskError> {
        let name = field_name(name)?;
        check_value(value)?;
        if is_removed(&name) {
            return Ok(());
        }
        self.set.retain(|(other, _)| *other != name);
        self.set.push((name, value.to_vec()));
        Ok(())
    }

    /// Whether a field of the request, in lower case, is replaced.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.set.iter().any(|(set, _)| set == name)
    }

    /// Adds to a field of the request, if it has one (`value` joins the others).
    pub(super) fn append(
        &mut self,
        name: &str,
        value: &[u8],
        fields: &[(String, Vec<u8>)],
    ) -> Result<(), AskError> {
        let name = field_name(name)?;
        let set = self.set.iter().find(|(other, _)| *other == name);
        let before: Vec<&[u8]> = match set {
            Some((_, value)) => vec![value],
            None => {
                let same = fields.iter().filter(|(other, _)| *other == name);
                same.map(|(_, value)| value.as_slice()).collect()
            }
        };
        if before.is_empty() {
            return Ok(());
        }
        // Cookies are one list (RFC 6265, 5.4).
        let between = if name == "cookie" { &b"; "[..] } else { b"," };
        let joined = [before, vec![value]].concat().join(between);
        self.set(&name, &joined)
    }

    /// Takes a field out of the request.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), AskError> {
        let name = field_name(name)?;
        self.set.retain(|(other, _)| *other != name);
        self.removed.push(name);
        Ok(())
    }

    /// Adds a field to the response.
    pub(super) fn respond(&mut self, name: &str, value: &[u8]) -> Result<(), AskError> {
        let name = field_name(name)?;
        check_value(value)?;
        self.response.push((name, value.to_vec()));
        Ok(())
    }

    /// The fields of a request as changed.
    pub(crate) fn apply<'a>(&'a self, fields: &mut impl FieldList<'a>) {
        let named = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        fields.keep(&|name| {
            !self.removed.iter().any(|removed| named(name, removed))
                && !self.set.iter().any(|(set, _)| named(name, set))
        });
        for (name, value) in &self.set {
            fields.add(name, value);
        }
    }
}

/// A list of fields that can be changed.
pub(crate) trait FieldList<'a> {
    /// Leaves only fields of these names.
    fn keep(&mut self, kept: &dyn Fn(&str) -> bool);
    /// Adds a field.
    fn add(&mut self, name: &'a str, value: &'a [u8]);
}

impl<'a, const N: usize> FieldList<'a> for smallvec::SmallVec<[(&'a str, &'a [u8]); N]> {
    fn keep(&mut self, kept: &dyn Fn(&str) -> bool) {
        self.retain(|(name, _)| kept(name));
    }

    fn add(&mut self, name: &'a str, value: &'a [u8]) {
        self.push((name, value));
    }
}

/// A provider's no, as the client gets it.
#[derive(Debug)]
pub(crate) struct External {
    pub(crate) status: u16,
    /// Header fields, without those that say how long the body is.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Whether nobody said no, and that is why.
    pub(crate) is_error: bool,
}

impl External {
    /// A provider that says nothing of use.
    pub(super) fn error(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new(), is_error: true }
    }

    /// `RESPONSE_CODE_DETAILS` of the access log.
    pub(crate) fn details(&self) -> &'static str {
        if self.is_error { "ext_authz_error" } else { "ext_authz_denied" }
    }

    /// What a gRPC client is told in `grpc-status`, if the provider says so.
    pub(crate) fn grpc_status(&self) -> Option<u8> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == "grpc-status")?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// Adds a field; one that HTTP does not have, or that concerns this hop only, is left out.
    pub(super) fn field(&mut self, name: &str, value: &[u8]) {
        let name = name.to_ascii_lowercase();
        let ours = ["date", "server"].contains(&name.as_str());
        if !ours && field_name(&name).is_ok() && check_value(value).is_ok() {
            self.fields.push((name, value.to_vec()));
        }
    }
}

/// A name in lower case that may be written to a request: none that says where it goes or how long it is.
fn field_name(name: &str) -> Result<String, AskError> {
    let name = name.to_ascii_lowercase();
    if frames(&name) || !is_token(&name) {
        return Err(AskError::Answer("to change a field that frames or routes the request"));
    }
    Ok(name)
}

/// Whether a field in lower case says where a message goes or how long it is.
pub(super) fn frames(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || ["host", "content-length"].contains(&name)
}

/// Nothing in a value may end it (RFC 9110, 5.5).
fn check_value(value: &[u8]) -> Result<(), AskError> {
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(AskError::Answer("a field with control characters"));
    }
    Ok(())
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Fields of one connection (RFC 9110, 7.6.1).
pub(crate) const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_replaces_and_what_is_appended_joins_what_is_there() {
        let fields = [("a", "1"), ("b", "2"), ("b", "3"), ("cookie", "k")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut changes = Changes::default();
        changes.set("A", b"x").unwrap();
        changes.append("a", b"y", &fields).unwrap();
        changes.append("b", b"4", &fields).unwrap();
        changes.append("absent", b"5", &fields).unwrap();
        changes.append("Cookie", b"l", &fields).unwrap();
        changes.remove("C").unwrap();
        let mut list: smallvec::SmallVec<[(&str, &[u8]); 4]> =
            [("A", "1"), ("B", "2"), ("b", "3"), ("c", "0"), ("d", "9"), ("cookie", "k")]
                .into_iter()
                .map(|(name, value)| (name, value.as_bytes()))
                .collect();
        changes.apply(&mut list);
        let expected: [(&str, &[u8]); 4] =
            [("d", b"9"), ("a", b"x,y"), ("b", b"2,3,4"), ("cookie", b"k; l")];
        assert_eq!(list.as_slice(), expected);
    }

    #[test]
    fn nobody_changes_where_a_request_goes_or_how_long_it_is() {
        for name in ["Host", "content-length", "Transfer-Encoding", ":path", "a b", "", "a\r\nb"] {
            assert!(Changes::default().set(name, b"x").is_err(), "{name}");
            assert!(Changes::default().remove(name).is_err(), "{name}");
            assert!(Changes::default().respond(name, b"x").is_err(), "{name}");
        }
        for value in [&b"a\r\nx: y"[..], b"a\0", b"\x7f"] {
            assert!(Changes::default().set("a", value).is_err());
            assert!(Changes::default().respond("a", value).is_err());
        }
    }

    #[test]
    fn what_only_a_proxy_writes_stays_as_it_is() {
        let mut changes = Changes::default();
        changes.set("X-Forwarded-Client-Cert", b"URI=spiffe://a").unwrap();
        changes.set("x-envoy-peer-metadata", b"x").unwrap();
        assert!(changes.set.is_empty());
    }

    #[test]
    fn a_refusal_has_only_fields_that_can_be_written() {
        let mut external = External::error(403);
        for (name, value) in [
            ("Transfer-Encoding", "chunked"),
            ("content-length", "9"),
            ("connection", "close"),
            ("a\r\nb", "x"),
            ("a", "x\r\nset-cookie: y"),
            ("location", "/"),
        ] {
            external.field(name, value.as_bytes());
        }
        assert_eq!(external.fields, [("location".to_owned(), b"/".to_vec())]);
    }
}
