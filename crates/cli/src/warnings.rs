//! What the API says beside its answers: `Warning` headers, which Kubernetes uses for objects that
//! it takes but that will not do all they say.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;

/// Warnings of all answers so far, less those that were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Notes the warnings of an answer.
    pub(crate) fn note(&self, headers: &HeaderMap) {
        let said = headers.get_all(header::WARNING).into_iter().filter_map(text);
        let mut all = self.0.lock();
        for warning in said {
            if all.len() < MOST && !all.contains(&warning) {
                all.push(warning);
            }
        }
    }

    /// All of them, once.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// The text of `299 - "text"` (RFC 7234, section 5.5).
fn text(value: &HeaderValue) -> Option<String> {
    let (_, quoted) = value.to_str().ok()?.split_once('"')?;
    let (quoted, _) = quoted.rsplit_once('"')?;
    let mut escaped = false;
    let plain = quoted.chars().filter(|&c| {
        escaped = c == '\\' && !escaped;
        !escaped
    });
    Some(plain.collect())
}

/// More than this nobody reads.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_once_without_their_quotes() {
        let mut headers = HeaderMap::new();
        for value in [
            r#"299 - "unknown field \"x\\y\"""#,
            r#"299 - "second""#,
            "no quotes",
            r#"299 - "second""#,
        ] {
            headers.append(header::WARNING, HeaderValue::from_static(value));
        }
        let warnings = Warnings::default();
        warnings.note(&headers);
        assert_eq!(warnings.take(), [r#"unknown field "x\y""#, "second"]);
        assert!(warnings.take().is_empty());
    }
}
