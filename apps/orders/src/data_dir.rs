//! The folder of one service: its files, and the lock that keeps a second one out.

use crate::trouble::Trouble;
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use tramline::core::clock::Timestamp;

/// A folder that is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens the folder at `path`, made if it is not there, or a new one for temporary files.
    pub(crate) fn open(path: Option<&Path>, now: Timestamp) -> Result<Self, Trouble> {
        let path = path.map_or_else(|| new_path(now), Path::to_owned);
        let failed = |error: std::io::Error| {
            let path = path.display();
            Trouble::permanent(format!("failed to use the data directory {path}: {error}"))
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let options = File::options().create(true).truncate(false).write(true).to_owned();
        let lock = options.open(path.join("orders.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Trouble::permanent(format!(
                "another order service is at work in {}; stop it, or say another --data-dir",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The URL of the database that is here unless somebody says otherwise.
    pub(crate) fn database_url(&self) -> Result<String, Trouble> {
        let path = self.path.join("orders.db");
        let path = path.to_str().ok_or_else(|| {
            let path = self.path.display();
            Trouble::permanent(format!("failed to name a database in {path}: it is not UTF-8"))
        })?;
        Ok(format!("sqlite:{}", encoded(path)))
    }
}

/// Never one that is there: a run without `--data-dir` begins from nothing.
fn new_path(now: Timestamp) -> PathBuf {
    let name = format!("tramline-orders-{}-{}", now.as_millis(), std::process::id());
    std::env::temp_dir().join(name)
}

/// `path` as it stands in a URL.
fn encoded(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '%' | '?' | '#' => write!(url, "%{:02X}", u32::from(c)).expect("a String has room"),
            _ => url.push(c),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_at_a_time_has_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data");
        let now = Timestamp::from_millis(0);
        let first = DataDir::open(Some(&path), now).unwrap();
        let second = DataDir::open(Some(&path), now).unwrap_err();
        assert!(
            matches!(&second, Trouble::Permanent(text) if text.contains("another order service"))
        );
        drop(first);
        assert!(DataDir::open(Some(&path), now).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_is_permanent_trouble() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trouble =
            DataDir::open(Some(&file.path().join("x")), Timestamp::default()).unwrap_err();
        assert!(matches!(trouble, Trouble::Permanent(_)));
    }

    #[test]
    fn odd_characters_survive_the_url() {
        assert_eq!(encoded("/a b/50%?/ü#"), "/a b/50%25%3F/ü%23");
    }
}
