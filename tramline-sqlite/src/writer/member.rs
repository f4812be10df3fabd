//! What the table of processes says about this one.

use crate::error::failed;
use crate::queue::temporary;
use parking_lot::Mutex;
use rusqlite::{OptionalExtension, params};
use std::sync::atomic::{AtomicI64, Ordering};
use tramline_core::Result;
use tramline_core::topology::{QueueSpec, Subscription};

use super::work::Work;

/// This process on this file.
pub(crate) struct Member {
    /// The name of the lock file that lives as long as the process.
    pub(crate) lock: String,
    /// Where datagrams wake it.
    pub(crate) port: Option<u16>,
    /// Its row; 0 before the first.
    pub(crate) id: AtomicI64,
    /// Its temporary queues: they are gone with its row, and come back with the next one.
    pub(crate) temporary: Mutex<Vec<Temporary>>,
}

/// A temporary queue of this process.
pub(crate) struct Temporary {
    pub(crate) id: i64,
    pub(crate) spec: QueueSpec,
    pub(crate) subscriptions: Vec<Subscription>,
}

impl Work<'_> {
    /// This process's row, which is there when this returns.
    ///
    /// A row that is missing was taken away by others because its lease had ended: what it held
    /// is lost, and the process goes on under a new id.
    pub(crate) fn process(&self) -> Result<i64> {
        if let Some(id) = self.process.get() {
            return Ok(id);
        }
        let id = self.shared.member.id.load(Ordering::Relaxed);
        let is_there = self
            .connection
            .prepare_cached("SELECT 1 FROM tramline_process WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], |_| Ok(())).optional())
            .map_err(|error| failed("look up this process", error))?;
        let id = match is_there {
            Some(()) => id,
            None => self.enter().map_err(|error| failed("enter this process", error))?,
        };
        self.process.set(Some(id));
        Ok(id)
    }

    /// Renews the lease of everything that this process holds: one row.
    pub(crate) fn heartbeat(&self) -> Result<()> {
        let id = self.process()?;
        let until = self.now().after(self.shared.settings.lease);
        self.connection
            .prepare_cached("UPDATE tramline_process SET lease_until = ?2 WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id, until.as_micros()]))
            .map_err(|error| failed("renew the lease of this process", error))?;
        Ok(())
    }

    fn enter(&self) -> rusqlite::Result<i64> {
        let until = self.now().after(self.shared.settings.lease);
        let member = &self.shared.member;
        self.connection
            .prepare_cached(
                "INSERT INTO tramline_process (lock, pid, port, lease_until)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![member.lock, std::process::id(), member.port, until.as_micros()])?;
        let id = self.connection.last_insert_rowid();
        for queue in self.shared.hub.consumed() {
            self.consume_as(id, queue)?;
        }
        for queue in &*member.temporary.lock() {
            temporary::restore(self, id, queue)?;
        }
        self.effects.borrow_mut().entered = Some(id);
        self.touch_topology()?;
        Ok(id)
    }

    /// Notes that this process reads `queue`, so that others wake it.
    pub(crate) fn consume(&self, queue: i64) -> Result<()> {
        let id = self.process()?;
        self.consume_as(id, queue)
            .and_then(|new| if new { self.touch_topology() } else { Ok(()) })
            .map_err(|error| failed("note what this process reads", error))
    }

    fn consume_as(&self, process: i64, queue: i64) -> rusqlite::Result<bool> {
        let mut insert = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO tramline_consumer (process, queue) VALUES (?1, ?2)",
        )?;
        Ok(insert.execute([process, queue])? == 1)
    }
}
