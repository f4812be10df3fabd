//! PgBouncer, a proxy that many put before PostgreSQL: tests start it themselves.

use crate::beside::Beside;
use crate::install::Package;
use crate::process::{bounded, output};
use crate::{Install, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

const PACKAGE: Package = Package {
    kind: "pgbouncer",
    name: "pgbouncer",
    program: PROGRAM,
    is_installed: || Path::new(PROGRAM).exists(),
    meanwhile: None,
    in_container: false,
};

/// The first version that keeps the prepared statements of its clients apart.
const KEEPING: (u32, u32) = (1, 21);

const NEWER: Beside = Beside {
    kind: "pgbouncer",
    wanted: "PgBouncer 1.21 or newer is needed",
    release: "trixie",
    packages: &[
        "pgbouncer",
        "libaudit1",
        "libc6",
        "libcap-ng0",
        "libcap2",
        "libcares2",
        "libevent-2.1-7t64",
        "libgcc-s1",
        "libpam0g",
        "libssl3t64",
        "libsystemd0",
        "libzstd1",
        "zlib1g",
    ],
    program: "usr/sbin/pgbouncer",
};

/// Sees to it that the system's PgBouncer is there, and one that keeps prepared statements apart.
///
/// # Errors
/// One is not, and cannot or must not be installed.
pub fn provide_pooler(install: Install) -> Result<()> {
    PACKAGE.provide(install)?;
    keeping(install).map(drop)
}

/// What starts a PgBouncer that can keep the prepared statements of its clients apart (1.21 or newer): the
/// system's, or one beside it. To be given arguments.
///
/// # Errors
/// There is none.
pub fn pooler_that_keeps_statements() -> Result<Command> {
    keeping(Install::Never)
}

fn keeping(install: Install) -> Result<Command> {
    let mut asked = bounded(PROGRAM, Duration::from_secs(10));
    asked.arg("--version");
    // One that does not say is as good as none.
    let told = output(asked).unwrap_or_default();
    match version(&told).is_some_and(|version| version >= KEEPING) {
        true => Ok(Command::new(PROGRAM)),
        false => NEWER.command(install),
    }
}

/// Of what `pgbouncer --version` says.
fn version(told: &str) -> Option<(u32, u32)> {
    let mut numbers = told.strip_prefix("PgBouncer ")?.split(['.', '\n']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_first_line() {
        assert_eq!(version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert_eq!(version("PgBouncer 1.24.1\n"), Some((1, 24)));
        assert!(version("PgBouncer 1.24.1\n") >= Some(KEEPING));
        assert_eq!(version("pgcat"), None);
    }
}
