//! Who started whom, as `/proc` tells it.

use crate::kill::kill;
use crate::process_group::LOOK_EVERY;
use std::time::{Duration, Instant};

/// One process; its start time tells it from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Process {
    pub(crate) id: u32,
    parent: u32,
    started: u64,
    zombie: bool,
}

/// Everything that runs below `ancestor`, at any depth.
pub(crate) fn descendants(ancestor: u32) -> Vec<Process> {
    below(ancestor, &running())
}

/// Kills a process and everything below it.
pub(crate) fn kill_all(ancestor: u32) {
    let below = descendants(ancestor).into_iter().map(|process| process.id);
    kill(below.chain([ancestor]).map(|id| id.to_string()));
}

/// Those of the processes that still run when all have ended or the patience has.
pub(crate) fn still_running(processes: &[Process], patience: Duration) -> Vec<Process> {
    let deadline = Instant::now() + patience;
    loop {
        let now = running();
        let same = |was: &Process| now.iter().any(|p| (p.id, p.started) == (was.id, was.started));
        let left: Vec<Process> = processes.iter().copied().filter(same).collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until a process has started `count` others; panics when it does not.
#[cfg(test)]
pub(crate) fn wait_for_descendants(ancestor: u32, count: usize) -> Vec<Process> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = descendants(ancestor);
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{ancestor} has started {} of {count}", found.len());
        std::thread::sleep(LOOK_EVERY);
    }
}

fn below(ancestor: u32, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        parents.extend(children.clone().map(|process| process.id));
        found.extend(children);
    }
    found
}

/// All processes that run. A zombie has ended: it only waits for its parent to notice.
fn running() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| parse(&stat))
        .filter(|process| !process.zombie)
        .collect()
}

/// Reads a line of `/proc/ID/stat`: `id (name) state parent …`, with the start time as field 22.
fn parse(stat: &str) -> Option<Process> {
    let (id, _) = stat.split_once(" (")?;
    // A name may hold spaces and brackets, so the fields begin after the last bracket.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Process {
        id: id.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32, parent: u32) -> Process {
        Process { id, parent, started: 1, zombie: false }
    }

    #[test]
    fn a_process_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a ) (b) S 7 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        assert_eq!(parse(stat), Some(Process { started: 98765, ..process(42, 7) }));
    }

    #[test]
    fn a_process_that_has_ended_but_was_not_awaited_is_a_zombie() {
        let stat = "42 (sh) Z 7 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        assert!(parse(stat).unwrap().zombie);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_strangers_are_not() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 2)];
        let found: Vec<u32> = below(2, &all).iter().map(|process| process.id).collect();
        assert_eq!(found, [3, 6, 4]);
    }

    #[test]
    fn a_later_process_with_the_same_id_is_not_the_one_that_ended() {
        let own = running().into_iter().find(|p| p.id == std::process::id()).unwrap();
        assert_eq!(still_running(&[own], Duration::ZERO), [own]);
        let reused = Process { started: own.started + 1, ..own };
        assert_eq!(still_running(&[reused], Duration::ZERO), []);
    }
}
