//! What must hold for any text that somebody applies.

use palisade_manifest::{MAX_DIAGNOSTICS, decode, text_of};
use palisade_types::Span;

/// Problems are in the text and few, and what is accepted means the same when it is written as JSON.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(text) = text_of(bytes) else {
        assert!(std::str::from_utf8(bytes).is_err());
        return;
    };
    let decoded = decode("a.yaml", text);
    assert!(decoded.diagnostics.len() <= MAX_DIAGNOSTICS);
    for diagnostic in &decoded.diagnostics {
        assert!(!diagnostic.code.is_empty() && !diagnostic.message.is_empty());
        for label in &diagnostic.labels {
            is_in(label.span, text);
        }
    }
    for object in &decoded.objects {
        is_in(object.span_near("spec.rules[0].to[0].operation.paths[0]"), text);
        let json = object.value.to_string();
        let again = decode("a.json", &json);
        let errors: Vec<_> = again.diagnostics.iter().filter(|it| it.is_error()).collect();
        assert!(errors.is_empty(), "{json}: {errors:?}");
        let [same] = &again.objects[..] else { panic!("{json}: {} objects", again.objects.len()) };
        assert_eq!(same.value, object.value);
        assert_eq!((same.name(), same.namespace()), (object.name(), object.namespace()));
    }
}

fn is_in(span: Span, text: &str) {
    assert!(text.get(span.start..span.end).is_some(), "{span:?} of {} bytes", text.len());
    let before = &text[..span.start];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let place = (before.matches('\n').count() + 1, line.chars().count() + 1);
    assert_eq!((span.line, span.column), place, "{span:?}");
}
