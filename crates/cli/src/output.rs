//! How things are printed: columns as kubectl prints them, and colours only on a terminal.

use anstyle::{AnsiColor, Color};

/// What a text means, for its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// It is as it should be.
    Good,
    /// It is not.
    Bad,
    /// It may surprise.
    Warning,
    /// Less important.
    Faint,
}

impl Style {
    /// The text in its colour; the stream removes it where there is no terminal.
    #[must_use]
    pub fn paint(self, text: &str) -> String {
        let style = match self {
            Self::Good => anstyle::Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green))),
            Self::Bad => anstyle::Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red))).bold(),
            Self::Warning => anstyle::Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow))),
            Self::Faint => anstyle::Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Columns, aligned, three spaces apart, no trailing blanks.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible_width(cell));
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - visible_width(cell) + 3));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Characters that take a column: all but escape sequences (`ESC [ … m`).
fn visible_width(text: &str) -> usize {
    let mut width = 0;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            '\u{1b}' => escaped = true,
            'm' if escaped => escaped = false,
            _ if escaped => {}
            _ => width += 1,
        }
    }
    width
}

/// Age as kubectl prints it: `5s`, `71m`, `3h5m`, `2d`.
#[must_use]
pub(crate) fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    span(now.duration_since(since).as_secs().max(0))
}

/// Seconds in the form of an age.
#[must_use]
pub(crate) fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=599 => format!("{minutes}m{}", part(seconds % 60, 's')),
        600..=10_799 => format!("{minutes}m"),
        10_800..=28_799 => format!("{hours}h{}", part(minutes % 60, 'm')),
        28_800..=172_799 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// What is left until a time, in the form of an age; `expired` after it.
#[must_use]
pub(crate) fn remaining(until: &str, now: jiff::Timestamp) -> String {
    match until.parse::<jiff::Timestamp>() {
        Ok(until) if until > now => age(now, until),
        Ok(_) => Style::Bad.paint("expired"),
        Err(_) => String::new(),
    }
}

fn part(value: i64, unit: char) -> String {
    if value == 0 { String::new() } else { format!("{value}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_colours_take_no_room() {
        let rows = vec![
            vec![Style::Good.paint("PASS"), "a longer name".to_owned()],
            vec!["FAIL".to_owned(), "x".to_owned()],
        ];
        let plain = anstream::adapter::strip_str(&table(&["RESULT", "NAME"], &rows)).to_string();
        assert_eq!(plain, "RESULT   NAME\nPASS     a longer name\nFAIL     x\n");
    }

    #[test]
    fn ages_print_as_kubectl_prints_them() {
        let start = jiff::Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (4260, "71m"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (200_000, "2d"),
        ] {
            let now = start + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(age(start, now), text);
        }
    }
}
