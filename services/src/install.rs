//! How a server comes onto this machine: its Debian package, or else a container.

use crate::account::is_root;
use crate::folder::{create, write};
use crate::process::{bounded, output};
use crate::{Error, Result, compose};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const APT_LIMIT: Duration = Duration::from_secs(600);

/// Whether something may be installed, or an image pulled, to have a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Install {
    /// If need be, and told on the standard error output: a command of the user.
    Allowed,
    /// Never: a test only uses what is there.
    Never,
}

/// How a kind of server is had.
pub(crate) struct Package {
    pub(crate) kind: &'static str,
    /// The Debian package.
    pub(crate) name: &'static str,
    /// What it brings, for people.
    pub(crate) program: &'static str,
    /// Whether that is there.
    pub(crate) is_installed: fn() -> bool,
    /// A file that lies there while the package is installed, and what is in it.
    pub(crate) meanwhile: Option<(&'static str, &'static str)>,
    /// Whether a container does as well.
    pub(crate) in_container: bool,
}

/// Where a server runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Host {
    /// As processes of this machine.
    Machine,
    /// In a container of Docker Compose.
    Container,
}

/// What to do to have a server.
#[derive(Debug, PartialEq)]
enum Step {
    Use(Host),
    InstallPackage,
    GiveUp,
}

/// What this machine offers.
#[derive(Clone, Copy)]
struct Offer {
    is_installed: bool,
    may_install: bool,
    /// Docker Compose answers, and the server runs there.
    has_container: bool,
}

impl Package {
    /// Sees to it that the server can be started, and says where.
    pub(crate) fn provide(&self, install: Install) -> Result<Host> {
        let is_installed = (self.is_installed)();
        let is_allowed = !is_installed && install == Install::Allowed;
        let may_install = is_allowed && is_root() && Path::new("/usr/bin/apt-get").exists();
        let may_contain = self.in_container && is_allowed && !may_install;
        let has_container = may_contain && compose::answers();
        match step(Offer { is_installed, may_install, has_container }) {
            Step::Use(host) => Ok(host),
            Step::InstallPackage => {
                let installed = self.install().map_err(|error| self.unobtainable(&error));
                installed.map(|()| Host::Machine)
            }
            Step::GiveUp => Err(self.absent()),
        }
    }

    /// Installs the package; what is known of packages is only brought up to date if it must be.
    fn install(&self) -> Result<()> {
        // A terminal that is gone is no reason to fail.
        writeln!(std::io::stderr(), "installing the Debian package {} …", self.name).ok();
        let _told = self
            .meanwhile
            .map(|(path, text)| Meanwhile::write(Path::new(path), text))
            .transpose()?;
        let apt = |arguments: &[&str]| {
            let mut command = bounded("apt-get", APT_LIMIT);
            command.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"]).args(arguments);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            output(command)
        };
        let install = ["install", "--yes", "--no-install-recommends", self.name];
        if apt(&install).is_err() {
            apt(&["update"])?;
            apt(&install)?;
        }
        (self.is_installed)().then_some(()).ok_or_else(|| {
            Error::failed(format!("the package {} has brought no {}", self.name, self.program))
        })
    }

    /// The server that should be had and cannot, as without a network.
    pub(crate) fn unobtainable(&self, error: &Error) -> Error {
        let kind = self.kind;
        Error::Absent { kind, why: format!("{kind} cannot be had: {error}") }
    }

    /// What to do about a server that is not there.
    fn absent(&self) -> Error {
        let Self { kind, name, in_container, .. } = *self;
        let up = format!("`cargo xtask services up {kind}`");
        let container = if in_container {
            format!(", or start a Docker engine with Compose and run {up}")
        } else {
            "; it does not run in Docker".to_owned()
        };
        let why = format!(
            "{kind} needs what is not installed here. Install the Debian package {name} ({up} as root does){container}"
        );
        Error::Absent { kind, why }
    }
}

/// A file that is removed when this is dropped.
struct Meanwhile(PathBuf);

impl Meanwhile {
    fn write(path: &Path, text: &str) -> Result<Self> {
        path.parent().map_or(Ok(()), create)?;
        write(path, text).map(|()| Self(path.to_owned()))
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            writeln!(std::io::stderr(), "failed to remove {}: {error}", self.0.display()).ok();
        }
    }
}

fn step(offer: Offer) -> Step {
    match offer {
        Offer { is_installed: true, .. } => Step::Use(Host::Machine),
        Offer { may_install: true, .. } => Step::InstallPackage,
        Offer { has_container: true, .. } => Step::Use(Host::Container),
        Offer { .. } => Step::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_server_is_used_before_a_package_and_a_package_before_a_container() {
        let taken = |is_installed, may_install, has_container| {
            step(Offer { is_installed, may_install, has_container })
        };
        assert_eq!(taken(true, true, true), Step::Use(Host::Machine));
        assert_eq!(taken(false, true, true), Step::InstallPackage);
        assert_eq!(taken(false, false, true), Step::Use(Host::Container));
        assert_eq!(taken(false, false, false), Step::GiveUp);
    }

    #[test]
    fn a_test_installs_nothing_and_hears_what_to_do() {
        let told = |in_container| {
            let package = Package {
                kind: "oracle",
                name: "oracle-server",
                program: "not/there",
                is_installed: || false,
                meanwhile: None,
                in_container,
            };
            let absent = package.provide(Install::Never).unwrap_err();
            assert!(matches!(absent, Error::Absent { kind: "oracle", .. }), "{absent:?}");
            absent.to_string()
        };
        for told in [told(true), told(false)] {
            let up = "the Debian package oracle-server (`cargo xtask services up oracle` as root";
            assert!(told.contains(up), "{told}");
        }
        assert!(told(true).contains("or start a Docker engine"));
        assert!(told(false).contains("it does not run in Docker"));
    }

    #[test]
    fn what_a_package_is_told_is_gone_when_it_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf.d/ours.conf");
        let told = Meanwhile::write(&path, "create = false\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "create = false\n");
        drop(told);
        assert!(!path.exists());
    }
}
