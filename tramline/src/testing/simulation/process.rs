//! One life of one process: a runtime that is run poll by poll, and dropped where it is.

use super::client::Client;
use super::life::Life;
use super::scenario::Build;
use super::turns::Turns;
use crate::testing::trace::What;
use crate::{BoxFuture, Bus, StartError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A process while it lives.
pub(crate) struct Process {
    pub(crate) life: Arc<Life>,
    pub(crate) polls: u64,
    turns: Turns,
    state: Arc<Mutex<State>>,
}

/// How far a process has come.
#[derive(Clone)]
pub(crate) enum State {
    Starting,
    Failed(String),
    Runs(Bus),
    Drained,
}

/// How long a process that is told to stop may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

impl Process {
    /// Begins to start what `build` makes. `client` sends from this process, if there is one.
    pub(crate) fn start(life: Life, build: &Build, client: Option<Client>) -> Self {
        let (life, build) = (Arc::new(life), build.clone());
        let (turns, state) = (Turns::new(), Arc::new(Mutex::new(State::Starting)));
        life.trace.add(life.id, What::Starts);
        let (own, started) = (life.clone(), state.clone());
        turns.spawn(async move {
            match started_by(&build, &own).await {
                Ok(bus) => {
                    *started.lock() = State::Runs(bus.clone());
                    if let Some(client) = client {
                        client.run(bus, own.id, own.trace.clone()).await;
                    }
                }
                Err(error) => *started.lock() = State::Failed(error.to_string()),
            }
        });
        Self { life, polls: 0, turns, state }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Polls up to `polls` tasks. Answers whether any could run.
    pub(crate) fn run(&mut self, polls: u64) -> bool {
        let polled = self.turns.run(polls, || self.life.faults.is_dying());
        self.polls += polled;
        polled > 0
    }

    /// Begins to stop, if the process has come so far. Answers whether it does.
    pub(crate) fn drain(&self) -> bool {
        let State::Runs(bus) = self.state() else { return false };
        let (life, state) = (self.life.clone(), self.state.clone());
        life.trace.add(life.id, What::Drains);
        self.turns.spawn(async move {
            // What could not be closed cleanly comes back by itself: the process ends either way.
            let _closed = bus.drain(DRAIN_LIMIT).await;
            life.trace.add(life.id, What::Drained);
            *state.lock() = State::Drained;
        });
        true
    }

    /// Dies where it is. The broker and the databases hear of it first: what a dead process was
    /// made of can tell them nothing.
    pub(crate) fn die(self) {
        self.life.trace.add(self.life.id, What::Dies { polls: self.polls });
        self.life.memory.crash();
        self.life.elsewhere.crash();
    }
}

/// In a box: the compiler cannot see that a task may hold the future of a start on an erased
/// transport.
fn started_by(build: &Build, life: &Life) -> BoxFuture<'static, Result<Bus, StartError>> {
    Box::pin(build(life).start())
}
