//! Units of work are gathered: while commits are under way, the next gathers.

use super::groups::Groups;
use super::unit::{Reply, Waiting, Work};
use crate::link::Line;
use crate::open::Core;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tramline_core::store::CommitError;
use tramline_core::{Error, ErrorKind};

/// How many units wait, before those who commit wait for room.
const WAITING_MAX: usize = 1024;

/// The tasks that end units of work: while the server writes what one has committed to its disk, it runs what
/// the other has gathered. They take turns: side by side they would want each other's locks. Begun with the first unit, they end with the core, or with their runtime; then the next
/// unit begins others.
pub(crate) struct Grouping {
    lines: [Arc<Line>; 2],
    units: Mutex<Option<mpsc::Sender<Waiting>>>,
}

/// What the tasks have in common.
struct Shared {
    units: tokio::sync::Mutex<mpsc::Receiver<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The right to run units.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Grouping {
    pub(crate) fn new(lines: [Arc<Line>; 2]) -> Self {
        Self { lines, units: Mutex::default() }
    }

    /// What it commits through.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().map(|line| &**line)
    }

    /// Ends a unit, with others. Dropped, it may be committed or not.
    pub(in crate::store) async fn end(&self, core: &Arc<Core>, work: Work) -> Reply {
        let (reply, answer) = oneshot::channel();
        let mut waiting = Waiting { work, tries: 0, reply };
        loop {
            let units = self.units(core);
            match units.send(waiting).await {
                Ok(()) => break,
                Err(back) => waiting = back.0,
            }
        }
        answer.await.unwrap_or_else(|_| {
            let doing = format!("commit in {}", core.target);
            let error = Error::new(ErrorKind::Unavailable, doing);
            let error = error.because("the runtime that commits has ended");
            Reply::Ended(Err(CommitError::Unknown(error)))
        })
    }

    fn units(&self, core: &Arc<Core>) -> mpsc::Sender<Waiting> {
        let mut units = self.units.lock();
        match units.as_ref().filter(|units| !units.is_closed()) {
            Some(units) => units.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                let shared = Arc::new(Shared { units: receiver.into(), turn: Arc::default() });
                for line in &self.lines {
                    let groups = Groups::new(line.clone());
                    tokio::spawn(run(Arc::downgrade(core), groups, shared.clone()));
                }
                units.insert(sender).clone()
            }
        }
    }
}

async fn run(core: Weak<Core>, mut groups: Groups, shared: Arc<Shared>) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(first) = shared.units.lock().await.recv().await else { return };
            waiting.push_back(first);
        }
        let turn = shared.turn.clone().lock_owned().await;
        // If the other one waits for a unit, there is none.
        if let Ok(mut units) = shared.units.try_lock() {
            while waiting.len() < WAITING_MAX {
                let Ok(next) = units.try_recv() else { break };
                waiting.push_back(next);
            }
        }
        let Some(core) = core.upgrade() else { return };
        groups.end_some(&core, &mut waiting, turn).await;
    }
}
