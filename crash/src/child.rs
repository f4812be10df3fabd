//! A process that the driver of a crash test has started: how it ends.

use rustix::process::{Pid, Signal, getppid, kill_process};
use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How often the driver looks at a process.
const PAUSE: Duration = Duration::from_millis(2);

/// From here on the death of `driver`, which must have started this process, is this process's too,
/// also while it is stopped.
///
/// Linux sends the signal when the thread ends that started this process: the driver's main one.
pub(crate) fn end_with(driver: u32) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("failed to ask to end with the driver: {error}"))?;
    // It may have died before that was asked for.
    if Pid::as_raw(getppid()).cast_unsigned() == driver {
        Ok(())
    } else {
        Err("the driver is gone".to_owned())
    }
}

/// Tells `child` to end by SIGTERM. `None` if it has not ended `within` the time.
pub(crate) fn end(child: &mut Child, within: Duration) -> io::Result<Option<ExitStatus>> {
    wait_until_it_listens(child, within);
    kill_process(Pid::from_child(child), Signal::TERM)?;
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => thread::sleep(PAUSE),
            ended => return Ok(ended),
        }
    }
}

/// One that was started a moment ago would die of the signal that it does not catch yet.
fn wait_until_it_listens(child: &Child, within: Duration) {
    const TERM: u64 = 1 << 14;
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let deadline = Instant::now() + within;
    // Where the system does not say, nothing is waited for.
    while caught().is_some_and(|mask| mask & TERM == 0) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
}

/// The last lines that the processes have written into `folder`, for a round that failed.
pub(crate) fn show_logs(folder: &Path) {
    const LINES: usize = 15;
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        eprintln!("--- {}, the last {} lines", path.display(), last.len());
        last.iter().for_each(|line| eprintln!("{line}"));
    }
}
