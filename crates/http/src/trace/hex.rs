//! Numbers of traces and spans as text.

/// A number as so many hexadecimal digits, in lower case.
pub(super) fn digits<const N: usize>(number: u128) -> [u8; N] {
    let mut text = [b'0'; N];
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        let nibble = usize::try_from(rest & 0xf).unwrap_or_default();
        *digit = b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0');
        rest >>= 4;
    }
    text
}

/// The number that is written so; none for zero, which stands for no trace and no span, and for what is no
/// number.
pub(super) fn id(text: &str) -> Option<u128> {
    // `from_str_radix` takes a sign too.
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|number| is_hex && *number != 0)
}
