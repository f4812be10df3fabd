//! The processor time and the memory of this process.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What all threads of this process have used so far, those that have ended included.
pub(crate) fn used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// The most memory that this process has held since it was forgotten last, where Linux tells.
pub(crate) fn most_memory_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes * 1024.0 / 1e6)
}

/// Begins to look for the most memory anew.
pub(crate) fn forget_most_memory() {
    // Elsewhere than on Linux there is nothing to forget, and nothing to tell.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
