//! Keeps worker processes running.

use super::process::{WorkerCommand, WorkerProcess};
use crate::trouble::Trouble;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Several workers, each started again when it dies. Dropped, it kills them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// For each worker: whom to tell which process was killed. Closed, the worker drains.
    kills: Vec<mpsc::Sender<oneshot::Sender<u32>>>,
    keepers: JoinSet<Result<(), Trouble>>,
}

/// After how many starts in a row that came to nothing the service gives up.
const FAILED_STARTS_MAX: u32 = 5;
/// A worker that does not live as long as this has failed to start.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// The pause before a worker is started again, for each start that failed before it.
const PAUSE: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Starts `count` workers and waits until all of them are ready: then every queue exists, and
    /// nothing is published into the void.
    pub(crate) async fn start(count: u8, command: &WorkerCommand) -> Result<Self, Trouble> {
        let (ready, mut readies) = mpsc::channel(count.into());
        let (mut kills, mut keepers) = (Vec::new(), JoinSet::new());
        for number in 0..count {
            let (kill, orders) = mpsc::channel(1);
            kills.push(kill);
            let keeper = Keeper { number, command: command.clone(), kills: orders };
            keepers.spawn(keeper.keep(ready.clone()));
        }
        let mut supervisor = Self { kills, keepers };
        for _ in 0..count {
            tokio::select! {
                _ = readies.recv() => {}
                trouble = supervisor.failed() => return Err(trouble),
            }
        }
        Ok(supervisor)
    }

    pub(crate) fn workers(&self) -> usize {
        self.kills.len()
    }

    /// Ends when a worker cannot be kept running, with each one's trouble once, and at once when no
    /// worker is left; never while all run. Cancel-safe.
    pub(crate) async fn failed(&mut self) -> Trouble {
        match self.keepers.join_next().await {
            Some(Ok(Err(trouble))) => trouble,
            Some(Ok(Ok(()))) => Trouble::broken("a worker was given up"),
            Some(Err(panic)) => Trouble::broken(panic),
            None => Trouble::broken("no worker is left"),
        }
    }

    /// Kills the worker with this number by SIGKILL, as soon as it is ready. Another one is on its
    /// way when this ends with the process that was killed.
    pub(crate) async fn kill(&mut self, worker: usize) -> Result<u32, Trouble> {
        let (tell, told) = oneshot::channel();
        let asked = match self.kills.get(worker) {
            Some(kills) => kills.send(tell).await.is_ok(),
            None => false,
        };
        match told.await {
            Ok(process) if asked => Ok(process),
            _ => Err(self.failed().await),
        }
    }

    /// Has all workers finish what they are doing, and end.
    pub(crate) async fn stop(mut self) {
        self.kills.clear();
        while let Some(ended) = self.keepers.join_next().await {
            if let Ok(Err(trouble)) = ended {
                tracing::warn!(%trouble, "a worker did not end well");
            }
        }
    }
}

/// Keeps one worker running.
struct Keeper {
    number: u8,
    command: WorkerCommand,
    kills: mpsc::Receiver<oneshot::Sender<u32>>,
}

/// How a worker came to its end.
enum End {
    /// By itself, or by somebody else's hand.
    Died,
    Killed,
    Drained,
}

impl Keeper {
    /// Ends well only when it was told to.
    async fn keep(mut self, ready: mpsc::Sender<()>) -> Result<(), Trouble> {
        let mut failed_starts = 0;
        loop {
            let mut worker = WorkerProcess::start(&self.command)
                .map_err(|error| self.trouble(&format!("it cannot be started: {error}")))?;
            let why = match worker.ready().await {
                Ok(()) => {
                    // Only the first time is waited for.
                    let _ = ready.try_send(());
                    let since = Instant::now();
                    match self.watch(worker).await? {
                        End::Drained => return Ok(()),
                        End::Died if since.elapsed() < LIFE_MIN => "it died young".to_owned(),
                        End::Died | End::Killed => {
                            failed_starts = 0;
                            continue;
                        }
                    }
                }
                Err(why) if worker.has_failed_permanently() => {
                    return Err(self.permanent(&why));
                }
                Err(why) => why,
            };
            failed_starts += 1;
            if failed_starts == FAILED_STARTS_MAX {
                let text = format!("{why}, {failed_starts} times in a row; see its words above");
                return Err(self.trouble(&text));
            }
            tokio::time::sleep(PAUSE * failed_starts).await;
        }
    }

    /// Waits for the end of a worker that is ready, or brings it about.
    async fn watch(&mut self, mut worker: WorkerProcess) -> Result<End, Trouble> {
        let killed = tokio::select! {
            ended = worker.ended() => {
                let status = ended.map_err(|error| self.trouble(&error.to_string()))?;
                if worker.has_failed_permanently() {
                    return Err(self.permanent(&format!("it ended with {status}")));
                }
                tracing::warn!(worker = self.number, %status, "a worker died; starting another");
                return Ok(End::Died);
            }
            kill = self.kills.recv() => kill,
        };
        let failed = |error: std::io::Error| self.trouble(&error.to_string());
        let Some(tell) = killed else {
            worker.drain().await.map_err(failed)?;
            return Ok(End::Drained);
        };
        let process = worker.kill().await.map_err(failed)?;
        // Whoever wanted to know may have gone meanwhile.
        let _ = tell.send(process);
        Ok(End::Killed)
    }

    /// Another start would end in the same way.
    fn permanent(&self, why: &str) -> Trouble {
        Trouble::permanent(format!(
            "worker {} cannot go on: {why}; see its words above",
            self.number
        ))
    }

    fn trouble(&self, why: &str) -> Trouble {
        Trouble::broken(format!("worker {} cannot be kept running: {why}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_always_dies_at_its_start_is_given_up() {
        let command = WorkerCommand::of_shell("echo ready; exit 3");
        let mut supervisor = Supervisor::start(1, &command).await.unwrap();
        let trouble = supervisor.failed().await.to_string();
        assert!(trouble.contains("worker 0 cannot be kept running: it died young, 5 times"));
        // Nobody is there any more who could still fail: to wait would be for ever.
        tokio::time::pause();
        let again = tokio::time::timeout(Duration::from_secs(60), supervisor.failed()).await;
        assert_eq!(again, Ok(Trouble::broken("no worker is left")));
    }

    #[tokio::test]
    async fn a_worker_that_is_never_ready_is_given_up_with_its_status() {
        let trouble = Supervisor::start(2, &WorkerCommand::of_shell("exit 3")).await.unwrap_err();
        assert!(trouble.to_string().contains("exit status: 3, 5 times in a row"), "{trouble}");
    }

    #[tokio::test]
    async fn a_worker_that_says_that_it_cannot_be_helped_is_not_started_again() {
        // Before it is ready, or after: then the start may or may not have ended well.
        for script in ["exit 2", "echo ready; exit 2"] {
            let trouble = match Supervisor::start(1, &WorkerCommand::of_shell(script)).await {
                Ok(mut supervisor) => supervisor.failed().await,
                Err(trouble) => trouble,
            };
            let text = trouble.to_string();
            assert!(
                text.contains("worker 0 cannot go on: it ended with exit status: 2;"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_worker_that_is_killed_is_replaced_and_one_that_drains_is_not() {
        let command = WorkerCommand::of_shell("echo ready; read word; test $word = drain");
        let mut supervisor = Supervisor::start(2, &command).await.unwrap();
        let first = supervisor.kill(1).await.unwrap();
        let second = supervisor.kill(1).await.unwrap();
        assert_ne!(first, second);
        supervisor.stop().await;
    }
}
