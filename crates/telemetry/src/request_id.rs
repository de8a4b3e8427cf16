//! Request ids for `x-request-id`: random UUIDs (version 4) from a cheap generator. They name a request in logs
//! and are no secret, so the generator need not be unpredictable; its seed is the caller's.

use crate::SplitMix64;

/// Makes request ids for one worker.
#[derive(Clone, Debug)]
pub struct RequestIds {
    numbers: SplitMix64,
}

/// A request id, as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestId([u8; 36]);

impl RequestIds {
    /// A generator; workers must have different seeds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { numbers: SplitMix64::new(seed) }
    }

    /// The next id.
    pub fn make(&mut self) -> RequestId {
        let mut random = [0; 16];
        let (high, low) = random.split_at_mut(8);
        high.copy_from_slice(&self.numbers.number().to_be_bytes());
        low.copy_from_slice(&self.numbers.number().to_be_bytes());
        let number = u128::from_be_bytes(random);
        RequestId::format((number & !VERSION_AND_VARIANT_MASK) | VERSION_AND_VARIANT)
    }
}

impl RequestId {
    /// The id, such as `84961386-6d84-4929-98bd-c5aee93b5c88`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn format(number: u128) -> Self {
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
        for (place, shift) in places.zip((0..32).rev()) {
            let nibble = usize::try_from((number >> (4 * shift)) & 0xf).unwrap_or_default();
            if let (Some(slot), Some(digit)) = (text.get_mut(place), DIGITS.get(nibble)) {
                *slot = *digit;
            }
        }
        Self(text)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const VERSION_AND_VARIANT_MASK: u128 = 0xf << 76 | 0b11 << 62;
const VERSION_AND_VARIANT: u128 = 4 << 76 | 0b10 << 62;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_version_4_uuids() {
        let mut ids = RequestIds::new(7);
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let id = ids.make();
            let text = id.as_str();
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
            assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
            assert_eq!(&text[14..15], "4");
            assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
            assert!(seen.insert(text.to_owned()));
        }
    }
}
