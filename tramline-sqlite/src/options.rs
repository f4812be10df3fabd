//! How a file is opened.

use crate::open::registry;
use crate::sqlite::Sqlite;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};

/// When a commit is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// When it is on the disk: what was accepted survives a power failure.
    #[default]
    Full,
    /// When the operating system has it: what was accepted survives the end of the process, and a
    /// power failure may take the last moments, never the file. Much faster with few callers.
    Normal,
}

/// How to open a file. Made by [`Sqlite::options`].
///
/// What is set here explicitly must not differ from what the file was opened with before by this
/// process: one file has one writer in a process, and the writer has one set of options.
#[must_use = "options open nothing by themselves: call `open`"]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) asked: Asked,
    pub(crate) isolated: bool,
    pub(crate) on_any_file_system: bool,
}

/// What was asked for explicitly.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub(crate) sync: Option<Sync>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) entropy: Option<Arc<dyn Entropy>>,
    pub(crate) lease: Option<Duration>,
    pub(crate) statement_limit: Option<Duration>,
    pub(crate) wal_limit: Option<u64>,
}

/// What a writer works with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) sync: Sync,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) lease: Duration,
    pub(crate) statement_limit: Duration,
    pub(crate) wal_limit: u64,
}

impl SqliteOptions {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, asked: Asked::default(), isolated: false, on_any_file_system: false }
    }

    /// When a commit is safe; [`Sync::Full`] unless said otherwise.
    pub fn sync(mut self, sync: Sync) -> Self {
        self.asked.sync = Some(sync);
        self
    }

    /// Where the time comes from; the machine's clock unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.asked.clock = Some(clock);
        self
    }

    /// Where chance comes from; the machine's generator unless said otherwise.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.asked.entropy = Some(entropy);
        self
    }

    /// How long a process that no longer moves, yet lives, keeps what it took; 30 s unless said
    /// otherwise. A process that dies loses it at once. Renewed every third of this time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.asked.lease = Some(lease);
        self
    }

    /// How long one closure's SQL may hold the writer, which serves all others too; 5 s unless
    /// said otherwise. What is over it is stopped and fails as retryable.
    pub fn statement_limit(mut self, limit: Duration) -> Self {
        self.asked.statement_limit = Some(limit);
        self
    }

    /// From which size in bytes on the writer itself brings the write-ahead log back into the
    /// file, between two commits; 64 MiB unless said otherwise.
    pub fn wal_limit(mut self, bytes: u64) -> Self {
        self.asked.wal_limit = Some(bytes);
        self
    }

    /// Opens the file on a network file system, too, which is refused otherwise (on Linux, by the
    /// kinds that are known). Right only where one machine alone has the file and its processes
    /// share the memory of mapped files: gVisor, for one, says `9p` of disks that are local. On
    /// anything else messages are lost and the file is broken.
    pub fn on_any_file_system(mut self) -> Self {
        self.on_any_file_system = true;
        self
    }

    /// Opens the file with a writer of its own and as a process of its own, as a second operating
    /// system process would. For tests of several processes.
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// Opens the file and makes or migrates the tables of the bus; what else is in the file stays
    /// as it is.
    ///
    /// When the future is dropped, the file is opened in the background and closed again.
    ///
    /// # Errors
    /// Each names the file: it cannot be opened or written to, is on a network file system, is no
    /// SQLite database, was written by a newer version of this crate, or is open in this process
    /// with other options.
    pub async fn open(self) -> Result<Sqlite> {
        registry::open(self).await
    }
}

impl Asked {
    pub(crate) fn settings(&self) -> Settings {
        const LEASE: Duration = Duration::from_secs(30);
        const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
        const WAL_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
        Settings {
            sync: self.sync.unwrap_or_default(),
            clock: self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock)),
            entropy: self.entropy.clone().unwrap_or_else(|| Arc::new(SystemEntropy)),
            lease: self.lease.unwrap_or(LEASE),
            statement_limit: self.statement_limit.unwrap_or(STATEMENT_LIMIT),
            wal_limit: self.wal_limit.unwrap_or(WAL_LIMIT_BYTES),
        }
    }

    /// The option in which this differs from a writer that is there already.
    pub(crate) fn difference(&self, is: &Settings) -> Option<&'static str> {
        fn differs<T: PartialEq>(asked: &Option<T>, is: &T) -> bool {
            asked.as_ref().is_some_and(|asked| asked != is)
        }
        let clock = self.clock.as_ref().is_some_and(|asked| !Arc::ptr_eq(asked, &is.clock));
        let entropy = self.entropy.as_ref().is_some_and(|asked| !Arc::ptr_eq(asked, &is.entropy));
        let checks = [
            (differs(&self.sync, &is.sync), "sync"),
            (clock, "clock"),
            (entropy, "entropy"),
            (differs(&self.lease, &is.lease), "lease"),
            (differs(&self.statement_limit, &is.statement_limit), "statement_limit"),
            (differs(&self.wal_limit, &is.wal_limit), "wal_limit"),
        ];
        checks.into_iter().find_map(|(differs, option)| differs.then_some(option))
    }
}
