//! What a process has mapped.

use std::{fs, io, ops::Range};

use rustix::mm::Advice;

/// Lets go of the pages of this program's code: what is still executed is mapped again as it is
/// reached, from the page cache and without a read.
///
/// For a process that has done all its starting and will then serve for days. The kernel maps 16
/// pages around every one that is touched, so a start that passes through a large program leaves
/// most of it mapped, which keeps the page cache from being reclaimed.
///
/// # Errors
/// When `/proc` is not mounted, or the kernel refuses; nothing has changed then.
#[expect(unsafe_code, reason = "rustix leaves the safety of madvise to its callers")]
pub fn forget_code() -> io::Result<()> {
    let here = forget_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let code = maps
        .lines()
        .filter_map(executable)
        .find(|range| range.contains(&here))
        .ok_or_else(|| io::Error::other("the program's code is not in /proc/self/maps"))?;
    let start = std::ptr::with_exposed_provenance_mut(code.start);
    // SAFETY: the range is one mapping of the program's file, which is private and not writable: what
    // is dropped is what the file has. Other threads that run in it fault the pages in again.
    unsafe { rustix::mm::madvise(start, code.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

/// The addresses of a line of `maps` (proc_pid_maps(5)), if it is of code that nothing can write to.
fn executable(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    (words.next()? == "r-xp").then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_nothing_writes_to_is_let_go_of() {
        for (line, expected) in [
            ("1000-3000 r-xp 00882000 fe:00 61 /palisade", Some(0x1000..0x3000)),
            ("1000-3000 r--p 00882000 fe:00 61 /palisade", None),
            ("1000-3000 rwxp 00000000 00:00 0", None),
            ("nonsense", None),
        ] {
            assert_eq!(executable(line), expected, "{line}");
        }
    }

    #[test]
    fn a_program_goes_on_without_the_pages_that_it_started_with() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = resident();
        forget_code().unwrap();
        assert!(resident() < before, "kB of file pages");
    }
}
