//! A program in a process group of its own, with a time limit, so that nothing outlives a step.

use crate::kill::kill;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A started program and everything it starts. Dropping it kills all of them.
pub(crate) struct ProcessGroup {
    leader: Child,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    OutOfTime,
}

impl ProcessGroup {
    /// Starts the program; what it prints goes to `log`.
    pub(crate) fn start(mut command: Command, log: &File) -> Result<Self, String> {
        let failed = |error| format!("failed to start the program: {error}");
        let out = log.try_clone().map_err(failed)?;
        let err = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let leader = command.spawn().map_err(failed)?;
        Ok(Self { leader })
    }

    /// The process id of the program itself.
    pub(crate) fn leader(&self) -> u32 {
        self.leader.id()
    }

    /// How the program itself ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.leader.try_wait().map_err(|error| format!("failed to wait for a program: {error}"))
    }

    /// Waits until the program ends or the time is over; then the whole group is killed.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Ended, String> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(Ended::Exited(status));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill();
        Ok(Ended::OutOfTime)
    }

    /// Kills the program alone, as a crash would, and leaves what it started.
    pub(crate) fn kill_leader(&mut self) -> Result<(), String> {
        let killed = self.leader.kill().and_then(|()| self.leader.wait());
        killed.map(drop).map_err(|error| format!("failed to kill the program: {error}"))
    }

    fn kill(&mut self) {
        if !kill([format!("-{}", self.leader.id())]) {
            // Without a shell the program itself is all that can be reached.
            self.leader.kill().ok();
        }
        self.leader.wait().ok();
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process_tree;

    fn shell(script: &str) -> ProcessGroup {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ProcessGroup::start(command, &tempfile::tempfile().unwrap()).unwrap()
    }

    #[test]
    fn a_program_that_ends_in_time_reports_its_exit_code() {
        let ended = shell("exit 7").wait(Duration::from_secs(10)).unwrap();
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(7)));
    }

    #[test]
    fn a_program_out_of_time_is_killed_with_all_that_it_started() {
        let mut group = shell("sleep 60 & sleep 60 & wait");
        let started = process_tree::wait_for_descendants(group.leader(), 2);
        assert!(matches!(group.wait(Duration::ZERO).unwrap(), Ended::OutOfTime));
        assert_eq!(process_tree::still_running(&started, Duration::from_secs(10)), []);
    }

    #[test]
    fn killing_the_leader_leaves_its_children_until_the_group_is_dropped() {
        let mut group = shell("sleep 60 & wait");
        let started = process_tree::wait_for_descendants(group.leader(), 1);
        group.kill_leader().unwrap();
        assert_eq!(process_tree::still_running(&started, Duration::ZERO), started);
        drop(group);
        assert_eq!(process_tree::still_running(&started, Duration::from_secs(10)), []);
    }
}
