//! What becomes of the processes of a crash test when its driver dies.
#![cfg(target_os = "linux")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PROCESSES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[test]
fn processes_die_with_their_driver_also_when_they_are_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Command::new(env!("CARGO_BIN_EXE_tramline-crash"))
        .args(["sqlite", "--rounds", "1000"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = wait_for_children(&mut driver);
    // From here on it starts and kills nobody.
    kill_process(Pid::from_child(&driver), Signal::STOP).unwrap();
    let ends: Vec<_> = children
        .into_iter()
        .filter_map(|child| pidfd_open(child, PidfdFlags::empty()).ok().map(|end| (child, end)))
        .collect();
    assert!(ends.len() > 1, "{} of its processes were left to be looked at", ends.len());
    kill_process(ends[0].0, Signal::STOP).unwrap();

    driver.kill().unwrap();
    driver.wait().unwrap();
    let left: Vec<Pid> =
        ends.iter().filter(|(_, end)| !ends_in_time(end)).map(|(p, _)| *p).collect();
    for process in &left {
        kill_process(*process, Signal::KILL).unwrap();
    }
    assert_eq!(left, [], "they live on");
}

fn ends_in_time(process: &OwnedFd) -> bool {
    let limit = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

fn wait_for_children(driver: &mut Child) -> Vec<Pid> {
    let begun = Instant::now();
    loop {
        let children = children(driver.id());
        if children.len() == PROCESSES {
            return children;
        }
        assert_eq!(driver.try_wait().unwrap(), None, "it ended before it could be killed");
        assert!(begun.elapsed() < PATIENCE, "it has {} processes", children.len());
        thread::sleep(LOOK_EVERY);
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).filter_map(Pid::from_raw).collect()
}

fn parent_of(process: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
