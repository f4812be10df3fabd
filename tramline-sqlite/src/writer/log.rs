//! Keeps the write-ahead log short.

use super::group::Writer;
use crate::open::busy;
use crate::processes::checkpoint::Checkpoints;
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::cell::Cell;
use std::time::Duration;

/// From this many bytes on, a checkpoint runs beside the commits.
const PASSIVE_BYTES: u64 = 4 * 1024 * 1024;
/// How long the writer waits for readers before it goes on with a longer log.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// Bytes in the log when the writer itself last tried to begin it anew.
    tried_at: Cell<u64>,
}

impl Log {
    pub(super) fn new(connection: &Connection, checkpoints: Checkpoints) -> rusqlite::Result<Self> {
        let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        connection.wal_hook(Some(note_pages));
        Ok(Self {
            page_bytes: page_bytes.unsigned_abs(),
            checkpoints,
            asked_at: Cell::new(0),
            tried_at: Cell::new(0),
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
    /// begins it anew. Under writes without end a checkpoint beside them never catches up: the
    /// log would grow for ever.
    pub(super) fn tend_log(&self) {
        let Log { page_bytes, checkpoints, asked_at, tried_at } = &self.log;
        let bytes = PAGES.get() * page_bytes;
        if bytes < asked_at.get() {
            asked_at.set(0);
            tried_at.set(0);
        }
        if bytes >= self.shared.settings.wal_limit.max(tried_at.get() + PASSIVE_BYTES) {
            tried_at.set(bytes);
            let restarted = checkpoints.instead(PATIENCE, || {
                let sql = "PRAGMA wal_checkpoint(RESTART)";
                let restart = || self.connection.query_row(sql, [], |row| row.get::<_, bool>(0));
                busy::with_patience(PATIENCE, restart)
            });
            match restarted {
                Some(Ok(false)) => {}
                Some(Ok(true)) | None => {
                    tracing::debug!(bytes, "somebody keeps the log from beginning anew");
                }
                Some(Err(error)) => tracing::warn!(%error, bytes, "failed to restart the log"),
            }
        } else if bytes >= asked_at.get() + PASSIVE_BYTES {
            asked_at.set(bytes);
            checkpoints.ask();
        }
    }
}

fn note_pages(_wal: &Wal, pages: i32) -> rusqlite::Result<()> {
    PAGES.set(u64::from(pages.unsigned_abs()));
    Ok(())
}
