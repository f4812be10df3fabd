//! Programs of Debian's next release, unpacked into a folder of their own and run from there with their own
//! libraries: for what the system's release has only in an older version.

use crate::folder::{create, lock, root, write};
use crate::install::{APT_LIMIT, Install};
use crate::process::{bounded, output};
use crate::{Error, Result};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and all it needs.
pub(crate) struct Beside {
    pub(crate) kind: &'static str,
    /// Why the system's own does not do.
    pub(crate) wanted: &'static str,
    pub(crate) release: &'static str,
    /// Its package, and those of its libraries down to the C library.
    pub(crate) packages: &'static [&'static str],
    /// Where its package puts it.
    pub(crate) program: &'static str,
}

/// Where Debian has libraries, and what runs a program with those of another folder.
#[cfg(not(target_arch = "aarch64"))]
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
#[cfg(not(target_arch = "aarch64"))]
const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
#[cfg(target_arch = "aarch64")]
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";
#[cfg(target_arch = "aarch64")]
const LOADER: &str = "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1";

impl Beside {
    /// What runs the program; to be given arguments.
    ///
    /// # Errors
    /// It is not there, and cannot or must not be fetched.
    pub(crate) fn command(&self, install: Install) -> Result<Command> {
        let folder = root()?.join(format!("{}-{}", self.kind, self.release));
        if !folder.join(LOADER).exists() {
            match install {
                Install::Allowed => self.fetch(&folder).map_err(|error| self.absent(&error))?,
                Install::Never => return Err(self.absent(&"`cargo xtask test` fetches it")),
            }
        }
        let mut command = Command::new(folder.join(LOADER));
        command.arg("--library-path").arg(folder.join(LIBRARIES)).arg(folder.join(self.program));
        Ok(command)
    }

    fn absent(&self, why: &dyn std::fmt::Display) -> Error {
        let Self { kind, wanted, release, .. } = self;
        Error::Absent {
            kind,
            why: format!("{wanted}; that of Debian's {release} is not there: {why}"),
        }
    }

    /// Unpacks everything beside `folder`, which is there only when all of it is.
    fn fetch(&self, folder: &Path) -> Result<()> {
        writeln!(std::io::stderr(), "fetching {} of Debian's {} …", self.kind, self.release).ok();
        let _lock = lock(&folder.with_extension("lock"), self.kind)?;
        if folder.exists() {
            // Somebody else has fetched it meanwhile.
            return Ok(());
        }
        let staging = folder.with_extension("new");
        let apt = Apt::of(self.release, &staging.join("apt"))?;
        apt.run(&["update"])?;
        let packages: Vec<String> =
            self.packages.iter().map(|name| format!("{name}/{}", self.release)).collect();
        let names = packages.iter().map(String::as_str);
        apt.run(&["download"].into_iter().chain(names).collect::<Vec<_>>())?;
        for package in apt.downloaded()? {
            let mut unpack = bounded("dpkg-deb", APT_LIMIT);
            unpack.arg("--extract").arg(package).arg(&staging);
            output(unpack)?;
        }
        let failed =
            |error| Error::failed(format!("failed to unpack into {}: {error}", staging.display()));
        fs::remove_dir_all(&apt.folder).map_err(failed)?;
        fs::rename(&staging, folder).map_err(failed)
    }
}

/// The package manager, with lists and downloads in a folder of its own, so that the system's are left alone.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// For packages of `release`, from where the system has its own.
    fn of(release: &str, folder: &Path) -> Result<Self> {
        if let Some(staging) = folder.parent() {
            // What an interrupted one has left.
            fs::remove_dir_all(staging).ok();
            create(staging)?;
        }
        create(&folder.join("lists/partial"))?;
        create(&folder.join("cache/archives/partial"))?;
        let mut asked = bounded("apt-get", APT_LIMIT);
        asked.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        let archives = output(asked)?;
        let archive = archive(&archives).ok_or_else(|| {
            Error::failed("apt knows no archive of Debian: see /etc/apt/sources.list")
        })?;
        write(&folder.join("sources.list"), &format!("deb {archive} {release} main\n"))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let folder = self.folder.display();
        let mut command = bounded("apt-get", APT_LIMIT);
        command.current_dir(&self.folder).args(["--quiet", "--option"]);
        command.args([&format!("Dir::Etc::SourceList={folder}/sources.list"), "--option"]);
        command.args(["Dir::Etc::SourceParts=/dev/null", "--option"]);
        command.args([&format!("Dir::State::Lists={folder}/lists"), "--option"]);
        command.args([&format!("Dir::Cache={folder}/cache"), "--option"]);
        // As another user it could not write here.
        command.args(["APT::Sandbox::User=root"]).args(arguments);
        output(command).map(drop)
    }

    fn downloaded(&self) -> Result<Vec<PathBuf>> {
        let failed =
            |error| Error::failed(format!("failed to read {}: {error}", self.folder.display()));
        let entries = fs::read_dir(&self.folder).map_err(failed)?.flatten();
        let paths = entries.map(|entry| entry.path());
        Ok(paths.filter(|path| path.extension().is_some_and(|it| it == "deb")).collect())
    }
}

/// Debian's main archive among all that the system uses.
fn archive(all: &str) -> Option<&str> {
    all.lines().map(str::trim).find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_found_among_others() {
        let all = "http://mirror/debian-security/\nhttp://other/tools\nhttp://mirror/debian/\n";
        assert_eq!(archive(all), Some("http://mirror/debian/"));
        assert_eq!(archive("http://mirror/ubuntu/\n"), None);
    }

    #[test]
    fn a_test_fetches_nothing_and_hears_why_it_would() {
        let beside = Beside {
            kind: "oracle",
            wanted: "this needs oracle 8",
            release: "nowhere",
            packages: &["oracle"],
            program: "usr/bin/oracle",
        };
        let absent = beside.command(Install::Never).unwrap_err();
        assert!(matches!(absent, Error::Absent { kind: "oracle", .. }), "{absent:?}");
        assert!(absent.to_string().starts_with("this needs oracle 8; that of Debian's nowhere"));
    }
}
