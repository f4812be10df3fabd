//! A thread that listens for other processes, and looks after them and this one now and then.

use super::neighbours::{Call, read};
use super::reap::{self, Suspect};
use crate::error::failed;
use crate::open::connection;
use crate::open::core::{Core, Shared};
use crate::queue::forget;
use crate::writer::{Job, Plan, Work, WriteError};
use rusqlite::Connection;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tramline_core::Result;
use tramline_core::clock::Timestamp;

/// How often the locks of other processes are tried.
const ROUND: Duration = Duration::from_millis(250);
/// How often the file is looked into when no datagram came.
const LOOK: Duration = Duration::from_secs(1);
/// The same where there are no datagrams.
const LOOK_WITHOUT_CALLS: Duration = Duration::from_millis(25);

struct Watch {
    shared: Arc<Shared>,
    jobs: mpsc::WeakSender<Box<dyn Job>>,
    connection: Option<Connection>,
    data_version: i64,
    looked: Instant,
    heartbeat_due: Timestamp,
}

/// What is in the file.
struct Looked {
    suspects: Vec<Suspect>,
    /// The row of this process is gone.
    is_lost: bool,
    /// So much of the file is free that it is worth being given back.
    is_large: bool,
    /// Something was kept for long enough.
    is_forgetful: bool,
    data_version: i64,
}

/// Starts the thread, after a first round. It ends by itself soon after the writer.
pub(crate) fn spawn(shared: Arc<Shared>, jobs: &mpsc::Sender<Box<dyn Job>>) -> io::Result<()> {
    let mut watch = Watch {
        heartbeat_due: shared.settings.clock.now().after(shared.settings.lease / 3),
        connection: None,
        shared,
        jobs: jobs.downgrade(),
        data_version: 0,
        looked: Instant::now(),
    };
    watch.round(jobs);
    watch.look(jobs);
    let thread = thread::Builder::new().name("tramline-watch".to_owned());
    thread.spawn(move || watch.run()).map(|_| ())
}

impl Watch {
    fn run(mut self) {
        let has_calls = self.shared.neighbours.socket().is_some();
        let look_every = if has_calls { LOOK } else { LOOK_WITHOUT_CALLS };
        let mut round_due = Instant::now() + ROUND;
        loop {
            let wait = round_due.min(self.looked + look_every).duration_since(Instant::now());
            self.listen(wait.max(Duration::from_millis(1)));
            let Some(jobs) = self.jobs.upgrade() else { return };
            if round_due <= Instant::now() {
                self.round(&jobs);
                round_due = Instant::now() + ROUND;
            }
            if self.looked.elapsed() >= look_every {
                self.look(&jobs);
            }
        }
    }

    /// Waits for a datagram, for at most `wait`, and rings for what it names.
    fn listen(&self, wait: Duration) {
        let Some(socket) = self.shared.neighbours.socket() else {
            thread::sleep(wait);
            return;
        };
        let mut bytes = [0; 1024];
        // A timeout is the usual answer.
        let Ok(()) = socket.set_read_timeout(Some(wait)) else {
            thread::sleep(wait);
            return;
        };
        let Ok((length, _)) = socket.recv_from(&mut bytes) else { return };
        match read(&bytes[..length]) {
            Some(Call::Queues(queues)) => {
                queues.into_iter().for_each(|queue| self.shared.hub.wake(queue));
            }
            Some(Call::All) => self.shared.hub.wake_all(),
            None => {}
        }
    }

    /// Clears away who died, and says that this process is alive.
    fn round(&mut self, jobs: &mpsc::Sender<Box<dyn Job>>) {
        if let Err(error) = self.shared.lock.restore() {
            tracing::warn!(%error, file = %self.shared.path.display(), "no lock file any more");
        }
        self.shared.returned.remind(jobs);
        self.tell(reap::bury_the_dead(&self.shared.lock, jobs));
        let now = self.shared.settings.clock.now();
        if now >= self.heartbeat_due {
            self.heartbeat_due = now.after(self.shared.settings.lease / 3);
            self.beat(jobs);
        }
    }

    fn beat(&self, jobs: &mpsc::Sender<Box<dyn Job>>) {
        self.tell(Core::write_blocking(jobs, Plan::passing(1), |work| work.heartbeat()));
    }

    /// Looks into the file: who is stuck, and whether anybody wrote.
    fn look(&mut self, jobs: &mpsc::Sender<Box<dyn Job>>) {
        self.looked = Instant::now();
        match self.read() {
            Ok(Looked { suspects, is_lost, is_large, is_forgetful, data_version }) => {
                self.tell(reap::expire(suspects, jobs));
                if is_lost {
                    // Others gave this process up: it enters anew and tells who holds something.
                    self.beat(jobs);
                }
                if is_large {
                    self.tell(shrink(jobs));
                }
                if is_forgetful {
                    self.tell(forget_old(jobs));
                }
                if data_version != self.data_version {
                    self.data_version = data_version;
                    self.shared.hub.wake_all();
                }
            }
            Err(error) => {
                self.connection = None;
                tracing::warn!(%error, file = %self.shared.path.display(), "failed to look");
            }
        }
    }

    fn read(&mut self) -> rusqlite::Result<Looked> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::reader(&self.shared.path)?,
        };
        let connection = self.connection.insert(connection);
        let clock = &self.shared.settings.clock;
        let now = clock.now().as_micros();
        let this = self.shared.member.id.load(Ordering::Relaxed);
        let mut processes =
            connection.prepare_cached("SELECT id, lock, lease_until FROM tramline_process")?;
        let mut rows = processes.query([])?;
        let mut suspects = Vec::new();
        let mut is_lost = true;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? == this {
                is_lost = false;
                continue;
            }
            let is_gone = !self.shared.lock.has(row.get_ref(1)?.as_str()?);
            if is_gone || row.get::<_, i64>(2)? < now {
                suspects.push(Suspect { id: row.get(0)?, is_gone });
            }
        }
        let is_large = is_worth_shrinking(connection)?;
        let is_forgetful = forget::is_due(connection, &self.shared.routes.read(), clock.now())?;
        let data_version = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(Looked { suspects, is_lost, is_large, is_forgetful, data_version })
    }

    fn tell(&self, done: Result<(), WriteError>) {
        if let Err(error) = done.map_err(WriteError::into_error)
            && self.shared.is_news(&error)
        {
            tracing::warn!(%error, file = %self.shared.path.display(), "failed to look after it");
        }
    }
}

/// In short steps, so that others have their turn between them, and not for longer than this thread
/// may be away from its other work.
fn forget_old(jobs: &mpsc::Sender<Box<dyn Job>>) -> Result<(), WriteError> {
    const STEPS_MAX: usize = 50;
    for _ in 0..STEPS_MAX {
        if Core::write_blocking(jobs, Plan::passing(forget::STEP), forget::step)? < forget::STEP {
            break;
        }
    }
    Ok(())
}

/// Whether more pages are free than a backlog of the usual size will need again soon.
fn is_worth_shrinking(connection: &Connection) -> rusqlite::Result<bool> {
    const PAGES_KEPT: i64 = 4096;
    let Pages { free, all } = Pages::count(connection)?;
    Ok(free > PAGES_KEPT && free > all / 2)
}

/// Whether it can shrink fast. Where much is in use, most pages that are freed have others moved into
/// their places, and consumers of a backlog would feel it.
fn is_nearly_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let Pages { free, all } = Pages::count(connection)?;
    Ok(free > all / 10 * 9)
}

struct Pages {
    free: i64,
    all: i64,
}

impl Pages {
    fn count(connection: &Connection) -> rusqlite::Result<Self> {
        let ask = |sql| connection.query_row(sql, [], |row| row.get(0));
        Ok(Self { free: ask("PRAGMA freelist_count")?, all: ask("PRAGMA page_count")? })
    }
}

/// Gives free pages back to the file system, step by step, so that others have their turns between.
/// What is left after a while is left to the next look.
fn shrink(jobs: &mpsc::Sender<Box<dyn Job>>) -> Result<(), WriteError> {
    let begun = Instant::now();
    while begun.elapsed() < ROUND {
        let more = Core::write_blocking(jobs, Plan::passing(1), |work| {
            free_pages(work).map_err(|error| failed("give free pages back", error))
        })?;
        if !more {
            break;
        }
    }
    Ok(())
}

/// Frees 8 MiB: a step short enough to stand in a group. Answers whether another is to follow at
/// once; a file that had tables before the bus came to it never shrinks.
fn free_pages(work: &Work<'_>) -> rusqlite::Result<bool> {
    let before = Pages::count(work.connection)?.all;
    // One row for each page: the pragma frees nothing beyond those that are asked for.
    let mut vacuum = work.connection.prepare_cached("PRAGMA incremental_vacuum(2048)")?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    if Pages::count(work.connection)?.all == before {
        return Ok(false);
    }
    work.effects.borrow_mut().shrank = true;
    Ok(is_worth_shrinking(work.connection)? && is_nearly_empty(work.connection)?)
}
