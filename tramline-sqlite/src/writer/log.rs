//! Keeps the write-ahead log short.
//!
//! SQLite begins the log anew once all of it is in the file and nobody reads from it. Under writes
//! without end that never is so by itself: the writer has to wait for it, and all others with it.

use super::group::Writer;
use super::restart::{Next, Restart};
use crate::open::busy;
use crate::processes::checkpoint::Checkpoints;
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// From this many bytes on, a checkpoint runs beside the commits.
pub(super) const PASSIVE_BYTES: u64 = 4 * 1024 * 1024;
/// How long nobody writes so that a checkpoint can bring back all of the log.
const CATCH_UP_PATIENCE: Duration = Duration::from_millis(5);
/// How long the writer waits for this process's own checkpoint, which does part of the work.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(250);

thread_local! {
    /// Pages in the log after the last commit on this thread.
    static PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer remembers of its log.
pub(super) struct Log {
    page_bytes: u64,
    checkpoints: Checkpoints,
    /// Bytes in the log when a checkpoint was asked for last.
    asked_at: Cell<u64>,
    restart: Cell<Restart>,
    /// Readers of this process wait for the log.
    holds_back: Cell<bool>,
}

impl Log {
    pub(super) fn new(connection: &Connection, checkpoints: Checkpoints) -> rusqlite::Result<Self> {
        let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        connection.wal_hook(Some(note_pages));
        Ok(Self {
            page_bytes: page_bytes.unsigned_abs(),
            checkpoints,
            asked_at: Cell::new(0),
            restart: Cell::default(),
            holds_back: Cell::new(false),
        })
    }
}

impl Log {
    /// The file has become shorter; the file system hears of it at the next checkpoint only.
    pub(super) fn shrank(&self) {
        self.checkpoints.ask();
    }
}

impl Writer {
    /// Between two groups: asks for a checkpoint when the log has grown, and above the limit
    /// begins it anew.
    pub(super) fn tend_log(&self) {
        let Log { page_bytes, checkpoints, asked_at, restart, .. } = &self.log;
        let bytes = PAGES.get() * page_bytes;
        if bytes < asked_at.get() {
            asked_at.set(0);
            restart.take();
        }
        let limit = self.shared.settings.wal_limit;
        let next = restart.get().next(bytes, limit, || self.hold_readers_back());
        if next == Next::Try {
            asked_at.set(bytes);
            if self.restart_log(bytes, restart.get().patience(Instant::now())) {
                PAGES.set(0);
            } else {
                let fraction = self.shared.settings.entropy.fraction();
                restart.set(restart.get().failed(bytes, fraction, Instant::now()));
            }
        } else if next == Next::CatchUp && checkpoints.are_idle() {
            // SQLite syncs the file at the end of a checkpoint only if nobody has committed since
            // it began, and else leaves that to the restart, while which nobody can commit at all.
            asked_at.set(bytes);
            restart.set(restart.get().caught_up());
            checkpoints.ask_and_wait(CATCH_UP_PATIENCE);
        } else if bytes >= asked_at.get() + PASSIVE_BYTES {
            asked_at.set(bytes);
            checkpoints.ask();
        }
        if next != Next::LetReadersEnd && self.log.holds_back.take() {
            self.shared.reading.let_go();
        }
    }

    fn hold_readers_back(&self) -> usize {
        self.log.holds_back.set(true);
        self.shared.reading.hold_back()
    }

    /// Whether the next commit stands at the beginning of the log.
    fn restart_log(&self, bytes: u64, patience: Duration) -> bool {
        let tried = self.log.checkpoints.instead(CHECKPOINT_PATIENCE, || self.wait_for(patience));
        match tried {
            Some(Ok(true)) => return true,
            Some(Ok(false)) | None => {
                tracing::debug!(bytes, "somebody keeps the log from beginning anew");
            }
            Some(Err(error)) => tracing::warn!(%error, bytes, "failed to restart the log"),
        }
        false
    }

    fn wait_for(&self, patience: Duration) -> rusqlite::Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Looked { busy, pages } = busy::with_patience(left, || self.try_restart())?;
            // Of two checkpoints SQLite refuses the second at once, however patient it is: it did
            // not come to look while another process ran one.
            if !busy || pages >= 0 || left.is_zero() {
                return Ok(!busy);
            }
            thread::sleep(busy::PAUSE);
        }
    }

    fn try_restart(&self) -> rusqlite::Result<Looked> {
        let sql = "PRAGMA wal_checkpoint(RESTART)";
        self.connection
            .query_row(sql, [], |row| Ok(Looked { busy: row.get(0)?, pages: row.get(1)? }))
    }
}

/// What SQLite answers to a checkpoint.
struct Looked {
    busy: bool,
    /// In the log; -1 if it did not come to look.
    pages: i64,
}

fn note_pages(_wal: &Wal, pages: i32) -> rusqlite::Result<()> {
    PAGES.set(u64::from(pages.unsigned_abs()));
    Ok(())
}
