//! Callers' batches are gathered: while one commit is under way, the next gathers.

use super::placed::Placed;
use super::writing;
use crate::link::Line;
use crate::open::Core;
use crate::queue::Parcel;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, oneshot};
use tramline_core::Error;

/// Why a batch was not answered.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing of it is in.
    Refused(Error),
    /// The answer was lost: it may be in.
    Unknown(Error),
}

/// What became of each message of a batch.
pub(crate) type Answer = Result<Vec<Placed>, Fault>;

/// One caller's batch.
pub(crate) struct Job {
    pub(super) parcels: Vec<Parcel>,
    pub(super) reply: oneshot::Sender<Answer>,
}

impl Job {
    /// Dropped unanswered, it says that its messages may be in.
    pub(crate) fn new(parcels: Vec<Parcel>) -> (Self, impl Future<Output = Answer>) {
        let (reply, answer) = oneshot::channel();
        let answer = async {
            answer.await.unwrap_or_else(|_| {
                let kind = tramline_core::ErrorKind::Unavailable;
                Err(Fault::Unknown(Error::new(kind, "send: the runtime that sends has ended")))
            })
        };
        (Self { parcels, reply }, answer)
    }

    pub(super) fn answer(self, answer: Answer) {
        // Whoever asked may have gone; then nobody wants the answer.
        let _ = self.reply.send(answer);
    }
}

/// How many batches wait, before those who send wait for room.
const WAITING_MAX: usize = 1024;
/// How many messages one commit takes, give or take the last batch.
const MESSAGES_MAX: usize = 2000;
/// How many bytes of bodies.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The task that sends. Begun with the first batch, it ends with the core, or with its runtime; then the
/// next batch begins another.
pub(crate) struct Sending {
    line: Arc<Line>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Sending {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line, jobs: Mutex::default() }
    }

    /// Hands over a batch, once there is room. Cancel-safe: dropped, it was not handed over.
    pub(crate) async fn submit(&self, core: &Arc<Core>, mut job: Job) {
        loop {
            let jobs = self.jobs(core);
            match jobs.send(job).await {
                Ok(()) => return,
                Err(back) => job = back.0,
            }
        }
    }

    /// What it sends through.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    fn jobs(&self, core: &Arc<Core>) -> mpsc::Sender<Job> {
        let mut jobs = self.jobs.lock();
        match jobs.as_ref().filter(|jobs| !jobs.is_closed()) {
            Some(jobs) => jobs.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                tokio::spawn(run(Arc::downgrade(core), self.line.clone(), receiver));
                jobs.insert(sender).clone()
            }
        }
    }
}

async fn run(core: Weak<Core>, line: Arc<Line>, mut jobs: mpsc::Receiver<Job>) {
    let mut gathered = Vec::new();
    while let Some(first) = jobs.recv().await {
        let (mut messages, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next.take() {
            // Whoever has given up is told that it may be in; so it need not be.
            if !job.reply.is_closed() {
                messages += job.parcels.len();
                bytes += job.parcels.iter().map(|parcel| parcel.envelope.body.len()).sum::<usize>();
                gathered.push(job);
            }
            if messages < MESSAGES_MAX && bytes < BYTES_MAX {
                next = jobs.try_recv().ok();
            }
        }
        let Some(core) = core.upgrade() else { return };
        writing::write(&core, &line, std::mem::take(&mut gathered)).await;
    }
}
