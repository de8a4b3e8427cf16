//! What the kernel knows of the calling process, under the names that every Prometheus client uses.

use std::fs;

use crate::exposition::{Exposition, Kind, Labels};

/// Writes processor time and memory of the calling process; nothing of what `/proc` does not tell.
pub fn write_process(out: &mut Exposition) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    if let Some(ticks) = cpu_ticks(&read("stat")) {
        let name = "process_cpu_seconds_total";
        out.family(name, Kind::Counter, "Processor time spent, of the system too.");
        let seconds = format!("{}.{:02}", ticks / TICKS, ticks % TICKS);
        out.sample(name, &Labels::default(), seconds);
    }
    if let Some(kibibytes) = resident_kibibytes(&read("status")) {
        let name = "process_resident_memory_bytes";
        out.family(name, Kind::Gauge, "Memory in use.");
        out.sample(name, &Labels::default(), kibibytes * 1024);
    }
}

/// `utime` and `stime` of `/proc/PID/stat` (proc(5)); the name before them may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

/// `VmRSS` of `/proc/PID/status`.
fn resident_kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Ticks in a second, as the kernel shows them to processes (`USER_HZ`).
const TICKS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 4194304 100 0 0 0 123 77 0 0 20 0 1 0 500 1000 10";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(resident_kibibytes("Name:\tx\nVmRSS:\t   1234 kB\n"), Some(1234));
        assert_eq!(resident_kibibytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let mut out = Exposition::default();
        write_process(&mut out);
        let text = out.finish();
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }
}
