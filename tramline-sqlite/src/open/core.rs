//! What all handles on one file share.

use super::connection;
use crate::deliver::returned::Returned;
use crate::options::Settings;
use crate::processes::checkpoint::Checkpoints;
use crate::processes::reading::Reading;
use crate::processes::{Neighbours, lock::LockFile, watch};
use crate::queue::routes::Routes;
use crate::schema;
use crate::store::readers::Readers;
use crate::writer::{self, JOBS_WAITING_MAX, Job, Member, Plan, Writer};
use parking_lot::RwLock;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tramline_core::rows::{Hub, Unrouted};
use tramline_core::store::DatabaseId;
use tramline_core::{Error, ErrorKind, Result};

use crate::error::failed_on;

/// A file that is open: its writer, which ends with the last handle, and its readers.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) jobs: mpsc::Sender<Box<dyn Job>>,
    pub(crate) readers: Readers,
}

/// What the threads of a file need too. Does not keep the writer alive.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) database: DatabaseId,
    pub(crate) settings: Settings,
    pub(crate) member: Member,
    pub(crate) hub: Hub,
    /// Set once others know that schedules are fired here.
    pub(crate) schedules: OnceLock<()>,
    pub(crate) neighbours: Neighbours,
    pub(crate) routes: RwLock<Arc<Routes>>,
    pub(crate) returned: Returned,
    pub(crate) unrouted: Unrouted,
    pub(crate) reading: Arc<Reading>,
    /// How often this process has entered the file. Deliveries from before the last time are lost.
    pub(crate) entries: tokio::sync::watch::Sender<u64>,
    pub(crate) lock: LockFile,
    /// The log says already that this program is outdated.
    says_outdated: AtomicBool,
}

impl Core {
    /// Opens the file at `path`, which is canonical, and starts its threads.
    pub(crate) fn open(path: PathBuf, settings: Settings) -> Result<Arc<Self>> {
        let connection = connection::writer(&path)?;
        let lock = LockFile::create(&path, &*settings.entropy)?;
        let shared = Arc::new(Shared::new(path, settings, lock, &connection)?);
        let on_file = |error| failed_on("open", &shared.path, error);
        let (jobs, arriving) = mpsc::channel(JOBS_WAITING_MAX);
        let no_thread = |error| {
            let doing = format!("start a thread for {}", shared.path.display());
            Error::new(ErrorKind::Unavailable, doing).because(error)
        };
        let checkpoints = Checkpoints::spawn(&shared.path).map_err(no_thread)?;
        let writer = Writer::new(connection, shared.clone(), checkpoints).map_err(on_file)?;
        writer::spawn(writer, arriving).map_err(no_thread)?;
        // What processes that died have left behind is there again before anybody asks for it.
        Self::write_blocking(&jobs, Plan::passing(1), |work| work.process().map(|_| ()))
            .map_err(writer::WriteError::into_error)?;
        watch::spawn(shared.clone(), &jobs).map_err(no_thread)?;
        let readers = Readers::new(&shared);
        Ok(Arc::new(Self { shared, jobs, readers }))
    }
}

impl Shared {
    fn new(
        path: PathBuf,
        settings: Settings,
        lock: LockFile,
        connection: &Connection,
    ) -> Result<Self> {
        let neighbours = Neighbours::new();
        let member = Member {
            lock: lock.name().to_owned(),
            port: neighbours.port(),
            id: AtomicI64::new(0),
            temporary: Default::default(),
        };
        let on_file = |error| failed_on("read the queues in", &path, error);
        let version = Routes::version(connection).map_err(on_file)?;
        // A newer program may have migrated the file since: from here on, the routes' version tells.
        schema::check(connection, &path)?;
        let routes = Routes::load(connection, version, &member).map_err(on_file)?;
        Ok(Self {
            database: database_id(&path),
            path,
            settings,
            member,
            hub: Hub::default(),
            schedules: OnceLock::new(),
            neighbours,
            routes: RwLock::new(Arc::new(routes)),
            returned: Returned::default(),
            unrouted: Unrouted::default(),
            reading: Arc::default(),
            entries: tokio::sync::watch::Sender::new(0),
            lock,
            says_outdated: AtomicBool::new(false),
        })
    }

    /// Wakes whoever reads one of `queues`, here and in other processes.
    pub(crate) fn wake(&self, queues: &BTreeSet<i64>) {
        queues.iter().for_each(|queue| self.hub.wake(*queue));
        let routes = self.routes.read().clone();
        self.neighbours.wake(&routes.neighbours, queues);
    }

    /// Whether a failure of work that nobody waits for is worth a line in the log: that this program
    /// is outdated is said once, however often it is tried.
    pub(crate) fn is_news(&self, error: &Error) -> bool {
        error.kind() != ErrorKind::Outdated || !self.says_outdated.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn closed(&self) -> Error {
        Error::closed(&self.path.display().to_string())
    }
}

fn database_id(path: &Path) -> DatabaseId {
    DatabaseId::new(format!("sqlite:{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqlite;

    #[tokio::test]
    async fn that_the_program_is_outdated_is_news_once_for_each_file_and_other_failures_always() {
        let folder = tempfile::tempdir().unwrap();
        let (outdated, other) = (ErrorKind::Outdated, ErrorKind::Unavailable);
        for file in ["a.db", "b.db"] {
            let path = folder.path().join(file);
            let (sqlite, again) = (Sqlite::open(&path).await.unwrap(), Sqlite::open(&path).await);
            let is_news =
                |sqlite: &Sqlite, kind| sqlite.core.shared.is_news(&Error::new(kind, "write"));
            let tried = [other, outdated, other, outdated, other];
            assert_eq!(tried.map(|kind| is_news(&sqlite, kind)), [true, true, true, false, true]);
            assert!(!is_news(&again.unwrap(), outdated), "{file}");
        }
    }
}
