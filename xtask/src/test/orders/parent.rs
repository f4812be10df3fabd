//! The order service is killed in the middle, all at once, and started again on the same data.

use super::report::Disturbance;
use super::run::{LIMIT, Site, build};
use crate::process_group::{LOOK_EVERY, ProcessGroup};
use crate::process_tree::{self, Process};
use crate::test::outcome::Outcome;
use crate::test::timed_run;
use crate::workspace::Workspace;
use std::path::Path;
use std::time::{Duration, Instant};

/// The data of a run that is under way: more than an empty schema, less than all its orders.
const BYTES_IN_THE_MIDDLE: u64 = 4 * 1024 * 1024;
const MIDDLE_LIMIT: Duration = Duration::from_secs(120);
const WORKERS_GONE_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn parent_killed(workspace: &Workspace) -> Outcome {
    let site = build(workspace).and_then(Site::new);
    Outcome::of_one(site.and_then(|site| kill_and_start_again(&site)))
}

fn kill_and_start_again(site: &Site) -> Result<String, String> {
    if let Err(failure) = kill_in_the_middle(site) {
        timed_run::show(&site.log());
        return Err(failure);
    }
    timed_run::run(site.command(&[]), &site.log(), LIMIT)
        .map_err(|failure| format!("the order service, started again, {failure}"))?;
    site.check(Disturbance::None)
}

/// Starts a run, kills its parent process while orders are being placed, and waits until the
/// workers have noticed.
fn kill_in_the_middle(site: &Site) -> Result<(), String> {
    let mut group = ProcessGroup::start(site.command(&[]), &timed_run::create(&site.log())?)?;
    let workers = wait_for_the_middle(&mut group, &site.data())?;
    group.kill_leader()?;
    println!("    killed the parent of {} workers", workers.len());
    if site.report().exists() {
        return Err("the run had ended before its parent was killed".to_owned());
    }
    let left = process_tree::still_running(&workers, WORKERS_GONE_LIMIT);
    if left.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = left.iter().map(|worker| worker.id.to_string()).collect();
    Err(format!(
        "workers {} still ran {} s after their parent was killed",
        ids.join(", "),
        WORKERS_GONE_LIMIT.as_secs()
    ))
}

/// Waits until the run has workers and has written enough, and returns the workers.
fn wait_for_the_middle(group: &mut ProcessGroup, data: &Path) -> Result<Vec<Process>, String> {
    let deadline = Instant::now() + MIDDLE_LIMIT;
    loop {
        if let Some(status) = group.ended()? {
            return Err(format!("the run ended with {status} before its parent was killed"));
        }
        let workers = process_tree::descendants(group.leader());
        let written = bytes_in(data);
        if !workers.is_empty() && written >= BYTES_IN_THE_MIDDLE {
            return Ok(workers);
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "after {} s the run had {} workers and {written} bytes of data",
                MIDDLE_LIMIT.as_secs(),
                workers.len()
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The size of all files directly in a folder; none when it does not exist yet.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::run::pretended;
    use super::*;

    #[test]
    fn a_run_whose_parent_was_killed_is_started_again_and_judged() {
        let site = Site::new(pretended()).unwrap();
        std::fs::write(site.data().join("endless"), "").unwrap();
        assert_eq!(kill_and_start_again(&site), Ok("reconciled".to_owned()));
    }

    #[test]
    fn a_run_that_ends_before_its_parent_was_killed_proves_nothing_and_fails() {
        let site = Site::new(pretended()).unwrap();
        let failure = kill_and_start_again(&site).unwrap_err();
        assert!(failure.contains("before its parent was killed"), "{failure}");
    }
}
