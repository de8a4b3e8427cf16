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
pub fn forget_code() -> io::Result<()> {
    let here = forget_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let code = maps
        .lines()
        .filter_map(executable)
        .find(|range| range.contains(&here))
        .ok_or_else(|| io::Error::other("the program's code is not in /proc/self/maps"))?;
    // Other threads that run in it fault the pages in again.
    forget(code)
}

/// Lets go of the pages of `mapping`, which has to be a whole private mapping of a file that nothing
/// has written to.
#[expect(unsafe_code, reason = "rustix leaves the safety of madvise to its callers")]
fn forget(mapping: Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(mapping.start);
    // SAFETY: what is dropped of such a mapping is what the file has, and is read again from there.
    unsafe { rustix::mm::madvise(start, mapping.len(), Advice::LinuxDontNeed) }?;
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

    /// kB of the mapping at `start` that are mapped now (`Rss` of proc_pid_smaps(5)).
    fn resident(start: usize) -> u64 {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mapping = smaps.split_once(&format!("{start:x}-")).unwrap().1;
        let line = mapping.lines().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    #[expect(unsafe_code, reason = "mmap")]
    fn pages_of_a_file_are_let_go_of_and_found_again() {
        // A mapping of its own, which no other thread of this process touches.
        let program = fs::File::open("/proc/self/exe").unwrap();
        let length = 64 * 4096;
        // SAFETY: at an address of the kernel's choice, over nothing that exists.
        let start = unsafe {
            let (read, private) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
            rustix::mm::mmap(std::ptr::null_mut(), length, read, private, &program, 0).unwrap()
        };
        // SAFETY: it is mapped from here to the test's end, and of a file that is longer.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
        let before = bytes.to_vec();
        assert!(resident(start.addr()) > 0);
        forget(start.expose_provenance()..start.addr() + length).unwrap();
        assert_eq!(resident(start.addr()), 0);
        assert_eq!(bytes, before);
    }

    #[test]
    fn a_program_goes_on_without_the_pages_that_it_started_with() {
        forget_code().unwrap();
    }
}
