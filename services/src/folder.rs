//! Where servers keep their data, and who may change them now.

use crate::account::is_root;
use crate::ports::{self, EACH};
use crate::{Error, Result};
use std::fs::{self, File, Permissions, TryLockError};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for somebody else who starts or stops the same server: longer than that takes.
const LOCK_LIMIT: Duration = Duration::from_secs(300);

/// The file with the first of a server's ports; it is there once they are chosen.
const PORT: &str = "port";

/// The folder of one server.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    name: String,
    path: PathBuf,
}

/// Nobody else changes the server until this is dropped, or its process has ended.
pub(crate) struct Lock {
    path: PathBuf,
    #[expect(dead_code, reason = "the lock is held while it is open")]
    file: File,
}

impl Folder {
    /// The folder of the server with this name, there or not.
    pub(crate) fn named(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), path: root()?.join(name) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The first of the server's ports, if it has been set up.
    pub(crate) fn port(&self) -> Option<u16> {
        fs::read_to_string(self.path.join(PORT)).ok()?.trim().parse().ok()
    }

    /// The first of the server's ports, chosen now if it has not been set up.
    pub(crate) fn port_for(&self, members: u16) -> Result<u16> {
        if let Some(port) = self.port() {
            return Ok(port);
        }
        // One lock for all servers, so that no two of them choose the same.
        let _lock = lock(&self.beside("all.lock"), "the ports of all servers")?;
        if let Some(port) = self.port() {
            return Ok(port);
        }
        let port = ports::choose(members, &chosen(self.path.parent().unwrap_or(&self.path)))
            .ok_or_else(|| Error::failed(format!("found no free ports for {}", self.name)))?;
        create(&self.path)?;
        write(&self.path.join(PORT), &port.to_string())?;
        Ok(port)
    }

    /// Sees to it that the server is set up with this port, even if it was removed meanwhile.
    pub(crate) fn keep(&self, port: u16) -> Result<()> {
        match self.port() {
            Some(now) if now == port => Ok(()),
            Some(now) => Err(Error::failed(format!(
                "{} was removed and set up anew with port {now} instead of {port}; ask for it again",
                self.name
            ))),
            None => {
                create(&self.path)?;
                write(&self.path.join(PORT), &port.to_string())
            }
        }
    }

    /// What the members of the server know each other by: anything, as long as it stays.
    pub(crate) fn secret(&self) -> Result<String> {
        let path = self.path.join("secret");
        if let Ok(secret) = fs::read_to_string(&path) {
            return Ok(secret);
        }
        let random = || RandomState::new().hash_one(&self.name);
        let secret = format!("{:016x}{:016x}", random(), random());
        write_secret(&path, &secret)?;
        Ok(secret)
    }

    /// Waits until nobody else starts, stops or removes this server.
    pub(crate) fn lock(&self) -> Result<Lock> {
        lock(&self.beside(&format!("{}.lock", self.name)), &self.name)
    }

    /// Removes all of it. Who waits for the lock notices that it is gone and asks for another.
    pub(crate) fn remove(&self, lock: Lock) -> Result<()> {
        let failed = |path: &Path, error: std::io::Error| {
            Error::failed(format!("failed to remove {}: {error}", path.display()))
        };
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(&self.path, error));
            }
            _ => {}
        }
        fs::remove_file(&lock.path).map_err(|error| failed(&lock.path, error))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

/// The names of all servers that have been set up.
pub(crate) fn names() -> Result<Vec<String>> {
    let mut names: Vec<String> = folders(&root()?).map(|(name, _)| name).collect();
    names.sort();
    Ok(names)
}

/// Creates a folder and those above it; the user of a server may look into it, whatever the umask.
pub(crate) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .map_err(|error| Error::failed(format!("failed to create {}: {error}", folder.display())))
}

/// Writes a file that the user of a server may read, whatever the umask.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    write_with(path, text, 0o644)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    write_with(path, text, 0o600)
}

fn write_with(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| Error::failed(format!("failed to write {}: {error}", path.display())))
}

/// The root of the workspace this program was built from, or the one the user stands in.
pub(crate) fn workspace() -> Result<PathBuf> {
    let from = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => PathBuf::from(package),
        None => std::env::current_dir().unwrap_or_default(),
    };
    let root = from.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    root.map(Path::to_owned)
        .ok_or_else(|| Error::failed(format!("found no Cargo.lock at or above {}", from.display())))
}

/// Where the folders of all servers are: with what is built, so that whoever shares that shares them.
pub(crate) fn root() -> Result<PathBuf> {
    let workspace = workspace()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    let target = workspace.join(target.unwrap_or_else(|| "target".into()));
    // Its permissions are not ours to change.
    fs::create_dir_all(&target).map_err(|error| {
        Error::failed(format!("failed to create {}: {error}", target.display()))
    })?;
    let open = fs::canonicalize(&target).unwrap_or(target);
    let root = if is_root() && !open.ancestors().all(admits_others) {
        away_from(&open)?
    } else {
        open.join("services")
    };
    create(&root)?;
    Ok(root)
}

/// Whether users that are neither owner nor in the group may go through a folder.
fn admits_others(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o001 != 0)
}

/// A folder for servers that run as users who cannot reach the build's target folder, as when root
/// has built in its own home.
fn away_from(target: &Path) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    let path = PathBuf::from(format!("/var/tmp/tramline-services-{:016x}", hasher.finish()));
    create(&path)?;
    let owner = fs::symlink_metadata(&path).map(|folder| (folder.is_dir(), folder.uid()));
    // Everybody may create it there before us, and would then own our servers.
    if !matches!(owner, Ok((true, 0))) {
        return Err(Error::failed(format!("{} is not a folder of ours", path.display())));
    }
    Ok(path)
}

pub(crate) fn lock(path: &Path, what: &str) -> Result<Lock> {
    let failed = |why| Error::failed(format!("failed to lock {}: {why}", path.display()));
    let deadline = Instant::now() + LOCK_LIMIT;
    while Instant::now() < deadline {
        let file = File::options().create(true).append(true).open(path);
        let locked = file.and_then(|file| try_lock(file, path));
        if let Some(lock) = locked.map_err(|error| failed(error.to_string()))? {
            return Ok(lock);
        }
        sleep(Duration::from_millis(20));
    }
    Err(failed(format!("another program works on {what} for {} s", LOCK_LIMIT.as_secs())))
}

/// The lock, unless another has it or the file was removed with its server since it was opened.
fn try_lock(file: File, path: &Path) -> std::io::Result<Option<Lock>> {
    match file.try_lock() {
        Ok(()) if is_at(&file, path)? => Ok(Some(Lock { path: path.to_owned(), file })),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether an open file is still the one at this path.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(now) => Ok((now.dev(), now.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The ports of all servers below `root`, as many as a cluster has for each.
fn chosen(root: &Path) -> Vec<Range<u16>> {
    folders(root).map(|(_, port)| port..port + 3 * EACH).collect()
}

/// The servers below `root` that have been set up, with the first port of each.
fn folders(root: &Path) -> impl Iterator<Item = (String, u16)> {
    fs::read_dir(root).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let port = Folder { name: name.clone(), path: entry.path() }.port()?;
        Some((name, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(root: &Path, name: &str) -> Folder {
        Folder { name: name.to_owned(), path: root.join(name) }
    }

    #[test]
    fn ports_are_chosen_once_and_never_those_of_another_server() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (planted(root.path(), "one"), planted(root.path(), "two"));
        assert_eq!(one.port(), None);
        let port = one.port_for(1).unwrap();
        assert_eq!((one.port_for(1).unwrap(), one.port()), (port, Some(port)));
        let other = two.port_for(3).unwrap();
        assert!(other + 3 * EACH <= port || port + EACH <= other, "{port} and {other}");
        let mut names: Vec<_> = folders(root.path()).map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn a_removed_server_has_no_ports_any_more() {
        let root = tempfile::tempdir().unwrap();
        let folder = planted(root.path(), "one");
        folder.port_for(1).unwrap();
        folder.remove(folder.lock().unwrap()).unwrap();
        assert_eq!(folder.port(), None);
        folder.remove(folder.lock().unwrap()).unwrap();
    }

    #[test]
    fn the_lock_of_a_server_that_was_removed_meanwhile_is_none() {
        let root = tempfile::tempdir().unwrap();
        let folder = planted(root.path(), "one");
        let path = folder.beside("one.lock");
        let opened = || File::options().create(true).append(true).open(&path).unwrap();
        let [there, gone, also_gone] = [opened(), opened(), opened()];
        assert!(try_lock(there, &path).unwrap().is_some());
        folder.remove(folder.lock().unwrap()).unwrap();
        assert!(try_lock(gone, &path).unwrap().is_none());
        let _again = folder.lock().unwrap();
        assert!(try_lock(also_gone, &path).unwrap().is_none());
    }

    #[test]
    fn who_locks_a_server_second_waits_for_the_first() {
        let root = tempfile::tempdir().unwrap();
        let folder = planted(root.path(), "one");
        let first = folder.lock().unwrap();
        let waiting = folder.clone();
        let second = std::thread::spawn(move || waiting.lock().map(drop));
        let file = File::options().append(true).open(folder.beside("one.lock")).unwrap();
        assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        drop((first, file));
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_folder_closed_to_others_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!admits_others(folder.path()));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o751)).unwrap();
        assert!(admits_others(folder.path()));
    }
}
