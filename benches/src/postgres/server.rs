//! The processor time of a server on this machine.

use std::fs;
use std::time::Duration;

/// The processes of a PostgreSQL server: its postmaster and all that it has begun.
pub(super) struct Server {
    postmaster: i32,
}

/// A clock tick of `/proc`, which is the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What `/proc` says of a process, in ticks.
struct Stat {
    parent: i32,
    own: u64,
    /// Of children that have ended.
    children: u64,
}

impl Server {
    /// The server that this process belongs to, if that is one of this machine.
    pub(super) fn of_backend(pid: i32) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let postmaster = Stat::of(pid)?.parent;
        // Another machine's server may have a process with the same id as some other program here.
        (name.trim() == "postgres").then_some(Self { postmaster })
    }

    /// What all of its processes have used so far.
    pub(super) fn used(&self) -> Duration {
        let own = Stat::of(self.postmaster).map_or(0, |stat| stat.own + stat.children);
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let children = pids.filter_map(Stat::of);
        let children = children.filter(|stat| stat.parent == self.postmaster);
        let ticks = own + children.map(|stat| stat.own).sum::<u64>();
        TICK.mul_f64(ticks as f64)
    }
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| words.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: words.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let line = "17 (a) b) S 3 1 1 0 -1 0 10 20 30 40 500 60 7 8 20 0 1 0";
        let stat = Stat::read(line).unwrap();
        assert_eq!((stat.parent, stat.own, stat.children), (3, 560, 15));
        assert!(Stat::read("17 (postgres) S").is_none());
    }
}
