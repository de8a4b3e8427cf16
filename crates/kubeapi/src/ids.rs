//! Random identifiers: object uids, generated name suffixes, token ids. No uniqueness check; the
//! store refuses a name that exists.

use aws_lc_rs::rand;

use crate::status::ApiError;

/// Kubernetes' alphabet: no vowels and no look-alikes, so that no name reads as a word.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A random (version 4) UUID.
pub(crate) fn uid() -> Result<String, ApiError> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xf << 76)) | (0x4 << 76);
    let number = (number & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let parts: Vec<&str> = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        .into_iter()
        .filter_map(|(start, end)| hex.get(start..end))
        .collect();
    Ok(parts.join("-"))
}

/// Five characters for `generateName`.
pub(crate) fn name_suffix() -> Result<String, ApiError> {
    let mut bytes = [0u8; 5];
    fill(&mut bytes)?;
    Ok(bytes
        .iter()
        .filter_map(|byte| SUFFIX_ALPHABET.get(usize::from(*byte) % SUFFIX_ALPHABET.len()))
        .map(|byte| char::from(*byte))
        .collect())
}

/// Fills a buffer from the system's random source.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), ApiError> {
    rand::fill(bytes).map_err(|_| ApiError::internal("the system's random source failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_version_four_uuid() {
        let uid = uid().unwrap();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uid.as_bytes()[19]), "{uid}");
        assert_ne!(uid, super::uid().unwrap());
    }

    #[test]
    fn a_suffix_is_five_safe_characters() {
        let suffix = name_suffix().unwrap();
        assert_eq!(suffix.len(), 5);
        assert!(suffix.bytes().all(|byte| SUFFIX_ALPHABET.contains(&byte)), "{suffix}");
    }
}
