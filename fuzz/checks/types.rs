//! What must hold for any text that names somebody or something: identities, patterns, address blocks.

use std::net::IpAddr;

use palisade_types::{IpBlock, PathTemplate, SpiffeId, StringPattern, TrustDomain};

/// An identity is written as it was read, and is what its parts make.
pub(crate) fn identity(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(domain) = text.parse::<TrustDomain>() {
        assert_eq!(domain.as_str(), text.replace('@', "."));
        assert_eq!(domain.to_string().parse(), Ok(domain));
    }
    let Ok(id) = text.parse::<SpiffeId>() else { return };
    let written = id.to_string();
    assert_eq!(written, text.replace('@', "."));
    assert_eq!(written.parse().as_ref(), Ok(&id));
    let again = SpiffeId::new(id.trust_domain().clone(), id.namespace(), id.service_account());
    assert_eq!(again.as_ref(), Ok(&id));
    assert_eq!(written.strip_prefix("spiffe://"), Some(id.principal().as_str()));
    let parts: Vec<&str> = written.split('/').collect();
    let [_, "", _, "ns", namespace, "sa", account] = parts[..] else { panic!("{written}") };
    assert_eq!((namespace, account), (id.namespace(), id.service_account()));
    // What a certificate's name is written into: XFCC, labels, log lines.
    assert!(!written.contains(|it: char| it.is_control() || " ,;=\"'\\%?#".contains(it)));
}

/// Patterns match what a reader of few lines says. The bytes are a pattern and a value, one a line.
pub(crate) fn pattern(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let Ok(pattern) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let value = lines.next().unwrap_or_default();
    let compiled = StringPattern::new(pattern);
    assert_eq!(compiled.matches(value), string_matches(pattern, value), "{pattern:?} {value:?}");
    let low = (pattern.to_ascii_lowercase(), value.to_ascii_lowercase());
    assert_eq!(compiled.matches_ignoring_case(value), string_matches(&low.0, &low.1));
    match PathTemplate::new(pattern) {
        None => assert!(!pattern.contains("{*}") && !pattern.contains("{**}")),
        // The reader tries everything, which takes its time.
        Some(template) if value.len() <= 24 && pattern.len() <= 24 => {
            assert_eq!(template.matches(value), template_matches(pattern.as_bytes(), value));
        }
        Some(template) => {
            let (start, end) = template.ends();
            assert!(!template.matches(value) || value.starts_with(start) && value.ends_with(end));
        }
    }
}

/// A block holds the addresses that share its first bits. The bytes are a block and an address, one a line.
pub(crate) fn ip_block(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (block, address) = text.split_once('\n').unwrap_or((text, "10.1.2.3"));
    let Ok(parsed) = block.parse::<IpBlock>() else { return };
    assert_eq!(parsed.to_string().parse(), Ok(parsed));
    let (start, bits) = block.split_once('/').unwrap_or((block, "128"));
    let start: IpAddr = start.parse().expect("a block begins with an address");
    let bits: u32 = bits.parse().expect("and its length is a number");
    assert!(parsed.contains(start));
    let Ok(address) = address.parse::<IpAddr>() else { return };
    let shared = match (start, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits.min(32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits,
        _ => false,
    };
    assert_eq!(parsed.contains(address), shared, "{block} {address}");
}

fn string_matches(pattern: &str, value: &[u8]) -> bool {
    match (pattern, pattern.as_bytes()) {
        ("*", _) => !value.is_empty(),
        (_, [b'*', end @ ..]) => value.ends_with(end),
        (_, [start @ .., b'*']) => value.starts_with(start),
        (_, exact) => exact == value,
    }
}

fn template_matches(template: &[u8], path: &[u8]) -> bool {
    let star = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=".contains(byte);
    let (rest, least, slashes) = match template {
        [] => return path.is_empty(),
        [b'{', b'*', b'}', rest @ ..] => (rest, 1, false),
        [b'{', b'*', b'*', b'}', rest @ ..] => (rest, 0, true),
        [first, rest @ ..] => {
            return path
                .split_first()
                .is_some_and(|(byte, path)| byte == first && template_matches(rest, path));
        }
    };
    let most = path.iter().take_while(|byte| star(byte) || slashes && **byte == b'/').count();
    (least..=most).any(|taken| template_matches(rest, &path[taken..]))
}
