//! The handle on a file.

use crate::open::core::Core;
use crate::open::session::Session;
use crate::options::SqliteOptions;
use crate::url;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tramline_core::Result;

/// A SQLite file as a bus, as a store, or as both at once.
///
/// Clones are the same handle. One file has one writer thread in a process, found by its canonical
/// path, whether it was opened as a bus or as a store: acks, the handlers' writes and what they
/// publish are one transaction. The writer ends with the last handle, receiver and delivery.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("orders.db");
/// use tramline_sqlite::Sqlite;
///
/// let store = Sqlite::open(&path).await?;
/// store.write(|db| {
///     db.execute("CREATE TABLE ledger (cents INTEGER)", [])?;
///     db.execute("INSERT INTO ledger VALUES (?1)", [1200])?;
///     Ok(())
/// }).await.unwrap();
/// let cents: i64 = store.read(|snapshot| {
///     Ok(snapshot.query_row("SELECT sum(cents) FROM ledger", [], |row| row.get(0))?)
/// }).await.unwrap();
/// assert_eq!(cents, 1200);
/// # Ok::<(), tramline_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Sqlite {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
}

impl Sqlite {
    /// Opens the file at `path` with the usual options; makes it where there is none.
    ///
    /// # Errors
    /// As [`SqliteOptions::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::options(path).open().await
    }

    /// Options to open the file at `path` with.
    pub fn options(path: impl Into<PathBuf>) -> SqliteOptions {
        SqliteOptions::new(path.into())
    }

    /// Opens what a URL names: `sqlite:orders.db`, `sqlite:///var/lib/orders.db?sync=normal`.
    ///
    /// # Errors
    /// As [`SqliteOptions::open`], and the URL says something that is not known.
    pub async fn from_url(url: &str) -> Result<Self> {
        url::parse(url)?.open().await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.core.shared.path).finish()
    }
}
