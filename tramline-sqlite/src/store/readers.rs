//! Connections that read snapshots, a few at a time, on threads that may block.

use crate::error::{failed, failed_on};
use crate::open::connection;
use crate::open::core::{Core, Shared};
use crate::processes::reading::Reading;
use crate::writer::Guard;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline_core::{Error, ErrorKind, Result};

/// How many users read at once, and how many of the bus itself.
const READERS_MAX: usize = 4;

/// The readers of one file.
pub(crate) struct Readers {
    path: PathBuf,
    reading: Arc<Reading>,
    /// Of users' closures, and of the bus's own looks: a slow closure must not hold up the bus.
    users: Arc<Semaphore>,
    own: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Reader>>>,
}

struct Reader {
    connection: Connection,
    guard: Guard,
}

/// How long a look of the bus's own may take: a whole backlog may have to be counted.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(30);

impl Core {
    /// Looks into one snapshot, for the bus itself.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        doing: &'static str,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let looked = self.readers.run(&self.readers.own, LOOK_LIMIT, look).await?;
        looked.map_err(|error| failed(doing, error))
    }
}

impl Readers {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            path: shared.path.clone(),
            reading: shared.reading.clone(),
            users: Arc::new(Semaphore::new(READERS_MAX)),
            own: Arc::new(Semaphore::new(READERS_MAX)),
            idle: Arc::default(),
        }
    }

    /// Runs a user's `f` on one snapshot of the file, where its SQL is stopped after `limit`.
    ///
    /// Dropped, `f` may still run to its end, for nobody.
    ///
    /// # Errors
    /// No snapshot could be had, or `f` panicked.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        limit: Duration,
        f: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T> {
        self.run(&self.users, limit, f).await
    }

    async fn run<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        limit: Duration,
        f: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T> {
        let doing = || format!("read a snapshot of {}", self.path.display());
        let permit = permits.clone().acquire_owned().await;
        let permit =
            permit.map_err(|error| Error::new(ErrorKind::Closed, doing()).because(error))?;
        let (idle, path) = (self.idle.clone(), self.path.clone());
        let reading = self.reading.clone();
        let read = move || {
            let on_file = |error| failed_on("read", &path, error);
            let reader = idle.lock().pop().map_or_else(|| Reader::open(&path), Ok);
            let reader = reader.map_err(on_file)?;
            let reading = reading.begin();
            let answer = reader.snapshot(limit, f);
            drop(reading);
            let answer = answer.map_err(on_file)?;
            // A connection on which something panicked or failed is not used again.
            idle.lock().push(reader);
            drop(permit);
            Ok(answer)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(answer) => answer,
            Err(error) => Err(Error::new(ErrorKind::Refused, doing()).because(error)),
        }
    }
}

impl Reader {
    fn open(path: &std::path::Path) -> rusqlite::Result<Self> {
        let connection = connection::reader(path)?;
        rusqlite::vtab::array::load_module(&connection)?;
        let guard = Guard::install(&connection)?;
        Ok(Self { connection, guard })
    }

    fn snapshot<T>(
        &self,
        limit: Duration,
        f: impl FnOnce(&Connection) -> T,
    ) -> rusqlite::Result<T> {
        self.connection.execute_batch("BEGIN DEFERRED")?;
        let answer = self.guard.restrict(limit, || f(&self.connection));
        self.connection.execute_batch("ROLLBACK")?;
        Ok(answer)
    }
}
