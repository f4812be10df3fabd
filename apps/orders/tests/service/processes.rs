//! Processes, as `/proc` and `kill` know them.

use crate::program::LIMIT;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The processes that `parent` started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| status(*id).is_some_and(|(_, of)| of == parent)).collect()
}

pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until none of `processes` does anything any more.
pub(crate) fn gone(processes: &[u32]) {
    until("the processes to end", || {
        let is_alive = |id: &u32| status(*id).is_some_and(|(state, _)| state != "Z");
        (!processes.iter().any(is_alive)).then_some(())
    })
}

/// Looks again and again until `look` finds something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// State and parent of a process.
fn status(process: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
