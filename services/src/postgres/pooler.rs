//! PgBouncer, a proxy that many put before PostgreSQL: tests start it themselves.

use crate::install::Package;
use crate::{Install, Result};
use std::path::Path;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

const PACKAGE: Package = Package {
    kind: "pgbouncer",
    name: "pgbouncer",
    program: PROGRAM,
    is_installed: || Path::new(PROGRAM).exists(),
    meanwhile: None,
    in_container: false,
};

/// Sees to it that the program is there.
///
/// # Errors
/// It is not, and cannot or must not be installed.
pub fn provide_pooler(install: Install) -> Result<()> {
    PACKAGE.provide(install).map(drop)
}
