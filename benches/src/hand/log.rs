//! Keeps the write-ahead log as short as ours: checkpoints beside the commits, and above 64 MiB
//! the writer begins it anew.

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Result};
use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

const PASSIVE_PAGES: u64 = 1024;
const RESTART_PAGES: u64 = 16 * 1024;

thread_local! {
    /// Pages in the log after the last commit on this thread.
    static PAGES: Cell<u64> = const { Cell::new(0) };
}

pub(super) struct Log {
    checkpoints: SyncSender<()>,
    asked_at: u64,
}

impl Log {
    pub(super) fn new(db: &Connection, path: &Path) -> Result<Self> {
        db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        db.wal_hook(Some(|_: &Wal, pages| {
            PAGES.set(u64::from(pages.unsigned_abs()));
            Ok(())
        }));
        let (checkpoints, asked) = sync_channel::<()>(1);
        let beside = Connection::open(path)?;
        thread::spawn(move || {
            while asked.recv().is_ok() {
                // A checkpoint that cannot be had now is had later.
                let _ = checkpoint(&beside, "PRAGMA wal_checkpoint(PASSIVE)");
            }
        });
        Ok(Self { checkpoints, asked_at: 0 })
    }

    /// Between two commits.
    pub(super) fn tend(&mut self, db: &Connection) -> Result<()> {
        let pages = PAGES.get();
        self.asked_at = self.asked_at.min(pages);
        if pages >= self.asked_at + PASSIVE_PAGES {
            self.asked_at = pages;
            let _ = self.checkpoints.try_send(());
        }
        if pages >= RESTART_PAGES {
            checkpoint(db, "PRAGMA wal_checkpoint(RESTART)")
        } else {
            Ok(())
        }
    }
}

fn checkpoint(db: &Connection, sql: &str) -> Result<()> {
    db.query_row(sql, [], |_| Ok(()))
}
