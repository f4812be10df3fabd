//! A file that is locked as long as its process lives: the operating system lets go of it when
//! the process dies, however it dies. No clock is involved.

use parking_lot::Mutex;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use tramline_core::clock::Entropy;
use tramline_core::{Error, ErrorKind, Result};

const SUFFIX: &str = ".lock";

/// This process's lock. Dropped, the file goes too.
pub(crate) struct LockFile {
    folder: PathBuf,
    name: String,
    /// Holds the lock.
    file: Mutex<File>,
}

/// A lock that nobody holds: its process is dead.
pub(crate) struct Orphan {
    pub(crate) name: String,
    path: PathBuf,
    /// Holds the lock, so that no one else buries the same process.
    _file: File,
}

impl LockFile {
    /// Makes and locks a file in a folder beside the database.
    pub(crate) fn create(database: &Path, entropy: &dyn Entropy) -> Result<Self> {
        let folder = folder(database);
        let name = format!("{}-{:016x}", std::process::id(), entropy.bits() as u64);
        let file = create(&folder, &name).map_err(|error| {
            let doing = format!("make a lock file in {}", folder.display());
            Error::new(ErrorKind::Misconfigured, doing).because(error)
        })?;
        Ok(Self { folder, name: name + SUFFIX, file: Mutex::new(file) })
    }

    /// Makes the file again if somebody has cleared it away: without it, others would take this
    /// process for dead again and again.
    pub(crate) fn restore(&self) -> io::Result<()> {
        if !self.has(&self.name) {
            let name = self.name.strip_suffix(SUFFIX).unwrap_or(&self.name);
            *self.file.lock() = create(&self.folder, name)?;
        }
        Ok(())
    }

    /// What the table of processes knows it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The locks of processes that died.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| name.ends_with(SUFFIX) && *name != self.name)
            .filter_map(|name| Orphan::take(self.folder.join(&name), name))
            .collect()
    }

    /// Whether the lock file called `name` is still there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Left behind, the next process clears it away.
        let _ = fs::remove_file(self.folder.join(&self.name));
    }
}

impl Orphan {
    fn take(path: PathBuf, name: String) -> Option<Self> {
        let file = File::open(&path).ok()?;
        match file.try_lock() {
            Ok(()) => Some(Self { name, path, _file: file }),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        }
    }

    /// The process's row is gone: so may the file be.
    pub(crate) fn bury(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn folder(database: &Path) -> PathBuf {
    let mut folder = database.as_os_str().to_owned();
    folder.push("-tramline");
    folder.into()
}

/// The file gets its name only once it is locked: nobody ever sees it unlocked while we live.
fn create(folder: &Path, name: &str) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let unlocked = folder.join(format!("{name}.new"));
    let file = File::create_new(&unlocked)?;
    let locked = file.try_lock().map_err(io::Error::from);
    let named = locked.and_then(|()| fs::rename(&unlocked, folder.join(format!("{name}{SUFFIX}"))));
    if named.is_err() {
        let _ = fs::remove_file(&unlocked);
    }
    named.map(|()| file)
}
