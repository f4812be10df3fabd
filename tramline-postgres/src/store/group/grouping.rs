//! Units of work are gathered: while one commit is under way, the next gathers.

use super::groups::Groups;
use super::unit::{Reply, Waiting, Work};
use crate::link::Line;
use crate::open::Core;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, oneshot};
use tramline_core::store::CommitError;
use tramline_core::{Error, ErrorKind};

/// How many units wait, before those who commit wait for room.
const WAITING_MAX: usize = 1024;

/// The task that ends units of work. Begun with the first, it ends with the core, or with its runtime; then
/// the next unit begins another.
pub(crate) struct Grouping {
    line: Arc<Line>,
    units: Mutex<Option<mpsc::Sender<Waiting>>>,
}

impl Grouping {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line, units: Mutex::default() }
    }

    /// What it commits through.
    pub(crate) fn line(&self) -> &Line {
        &self.line
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
                tokio::spawn(run(Arc::downgrade(core), Groups::new(self.line.clone()), receiver));
                units.insert(sender).clone()
            }
        }
    }
}

async fn run(core: Weak<Core>, mut groups: Groups, mut units: mpsc::Receiver<Waiting>) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(first) = units.recv().await else { return };
            waiting.push_back(first);
        }
        while waiting.len() < WAITING_MAX {
            let Ok(next) = units.try_recv() else { break };
            waiting.push_back(next);
        }
        let Some(core) = core.upgrade() else { return };
        groups.end_some(&core, &mut waiting).await;
    }
}
