//! Prints numbers, times and addresses into log lines without the machinery of `std::fmt`, which costs more than
//! the rest of a line.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

/// Appends a number in decimal.
pub(crate) fn push_decimal(mut number: u64, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = digit(number);
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    push_ascii(digits.get(20 - length..).unwrap_or_default(), out);
}

/// Appends an address as `IP:PORT`, IPv6 in brackets.
pub(crate) fn push_address(address: SocketAddr, out: &mut String) {
    let IpAddr::V4(ip) = address.ip() else {
        // Writing to a String does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    let mut separator = "";
    for octet in ip.octets() {
        out.push_str(separator);
        push_decimal(octet.into(), out);
        separator = ".";
    }
    out.push(':');
    push_decimal(address.port().into(), out);
}

/// Appends a time in milliseconds since 1970 as Envoy prints it: `2020-11-25T21:26:18.409Z`.
pub(crate) fn push_time(unix_millis: u64, out: &mut String) {
    let millis = unix_millis.min(LAST_MILLISECOND);
    let (year, month, day) = civil(millis / MILLIS_PER_DAY);
    let in_day = millis % MILLIS_PER_DAY;
    let [h, m, s] = [in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60];
    let text = [
        digit(year / 1000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        b'-',
        digit(month / 10),
        digit(month),
        b'-',
        digit(day / 10),
        digit(day),
        b'T',
        digit(h / 10),
        digit(h),
        b':',
        digit(m / 10),
        digit(m),
        b':',
        digit(s / 10),
        digit(s),
        b'.',
        digit(millis / 100),
        digit(millis / 10),
        digit(millis),
        b'Z',
    ];
    push_ascii(&text, out);
}

fn push_ascii(text: &[u8], out: &mut String) {
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

/// The last digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// Year, month and day of a day since 1970, in years that begin in March, so that the leap day is the last
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

const MILLIS_PER_DAY: u64 = 86_400_000;

/// 9999-12-31T23:59:59.999Z: the format has four digits for the year.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let mut millis = 0;
        while millis <= LAST_MILLISECOND {
            let mut text = String::new();
            push_time(millis, &mut text);
            let time = Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
            assert_eq!(text, format!("{time:.3}"));
            // About 17 days and a bit, so that every time of day and day of year comes up.
            millis += 1_500_000_001;
        }
        let mut last = String::new();
        push_time(u64::MAX, &mut last);
        assert_eq!(last, "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn numbers_and_addresses_print_as_with_fmt() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut text = String::new();
            push_decimal(number, &mut text);
            assert_eq!(text, number.to_string());
        }
        for address in ["0.0.0.0:0", "255.10.1.100:65535", "[::1]:80", "[fe80::a]:1"] {
            let mut text = String::new();
            push_address(address.parse().unwrap(), &mut text);
            assert_eq!(text, address);
        }
    }
}
