//! What the system says of a process.

use std::fs;

/// Zeros where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Vitals {
    /// What it has in memory.
    pub(crate) rss_bytes: u64,
    /// How many file descriptors it has open.
    pub(crate) descriptors: u64,
}

impl Vitals {
    pub(crate) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
        Self {
            rss_bytes: rss_bytes(&status).unwrap_or(0),
            descriptors: descriptors.map_or(0, |entries| entries.count() as u64),
        }
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            rss_bytes: self.rss_bytes.max(other.rss_bytes),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_system_says_of_a_process() {
        let status = "Name:\tcrash\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t7\n";
        assert_eq!(rss_bytes(status), Some(10 * 1024 * 1024));
        assert_eq!(rss_bytes("Name:\tcrash\nState:\tZ (zombie)\n"), None);
    }
}
