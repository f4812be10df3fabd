//! The loop of the writer.

use super::caught::caught;
use super::group::Writer;
use super::job::Job;
use std::collections::VecDeque;
use std::io;
use std::thread;
use tokio::sync::mpsc;

/// The most jobs in one group.
const JOBS_MAX: usize = 1024;
/// The most rows in one group, unless a single job has more.
const ROWS_MAX: usize = 10_000;

/// Starts the writer. It ends when the last handle on the file is gone and all is written.
pub(crate) fn spawn(
    writer: Writer,
    jobs: mpsc::Receiver<Box<dyn Job>>,
) -> io::Result<thread::JoinHandle<()>> {
    let name = "tramline-writer".to_owned();
    thread::Builder::new().name(name).spawn(move || run(&writer, jobs))
}

fn run(writer: &Writer, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut waiting = VecDeque::new();
    let mut arrived = Vec::with_capacity(JOBS_MAX);
    loop {
        if waiting.is_empty() {
            // Those that were just answered get the chance to come back with their next job: on a
            // busy machine they would otherwise miss each group and join every second one.
            thread::yield_now();
            // Answers as soon as there is one: nobody waits for a fuller group.
            if jobs.blocking_recv_many(&mut arrived, JOBS_MAX) == 0 {
                break;
            }
        } else {
            // What waits here counts: the bound of the channel would otherwise bound nothing.
            while waiting.len() + arrived.len() < JOBS_MAX
                && let Ok(job) = jobs.try_recv()
            {
                arrived.push(job);
            }
        }
        waiting.extend(arrived.drain(..));
        let mut group = next_group(&mut waiting);
        if let Some(returns) = writer.shared.take_returned() {
            group.push_front(returns);
        }
        match caught(|| writer.run(group)) {
            Ok(left) => left.into_iter().rev().for_each(|job| waiting.push_front(job)),
            // Jobs are caught one by one; whatever else it was, the others go on.
            Err(panic) => {
                tracing::error!(%panic, file = %writer.shared.path.display(), "a group panicked");
                writer.roll_back();
            }
        }
        writer.tend_log();
    }
    writer.leave();
}

/// The jobs of the next transaction, in order. Jobs that nobody waits for are dropped.
fn next_group(waiting: &mut VecDeque<Box<dyn Job>>) -> VecDeque<Box<dyn Job>> {
    let mut group = VecDeque::with_capacity(waiting.len().min(JOBS_MAX) + 1);
    let mut rows = 0;
    while group.len() < JOBS_MAX
        && (group.is_empty() || rows < ROWS_MAX)
        && let Some(job) = waiting.pop_front()
    {
        if job.is_wanted() {
            rows += job.rows();
            group.push_back(job);
        } else if let Err(panic) = caught(move || drop(job)) {
            tracing::error!(%panic, "what a job had captured panicked");
        }
    }
    group
}
