//! From whatever version a database has to the one that this crate works with.

use crate::error::{failed, kind};
use crate::link::Connected;
use tramline_core::{Error, ErrorKind, Result};

/// Every step, in order: the first makes version 1 of a database without tables. Released steps are
/// never changed, only followed by others.
const STEPS: &[&str] = &[concat!(
    include_str!("v1/tables.sql"),
    "\n",
    include_str!("v1/place.sql"),
    "\n",
    include_str!("v1/take.sql"),
    "\n",
    include_str!("v1/settle.sql"),
    "\n",
    include_str!("v1/processes.sql"),
    "\n",
    include_str!("v1/temporary.sql"),
    "\n",
    include_str!("v1/inbox.sql"),
    "\n",
    include_str!("v1/outbox.sql"),
    "\n",
    include_str!("v1/schedules.sql"),
    "\n",
    include_str!("v1/conclude.sql"),
    "\n",
    include_str!("v1/from_sql.sql"),
    "\n",
    include_str!("v1/operate.sql"),
)];

/// The newest version that this program knows.
pub(crate) const NEWEST: i32 = STEPS.len() as i32;

/// Keeps those apart who migrate at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(-1953260903, 0)";

/// Everything that this crate makes in a database, as SQL: for those whose administrators run it.
/// Each step is one transaction, and leaves what it finds done undone.
///
/// Who works with a database in which it was run needs `USAGE` on the schema `tramline`, all rights on its
/// tables, and `USAGE` and `SELECT` on its sequences.
///
/// ```
/// let sql = tramline_postgres::migrations();
/// assert!(sql.contains("CREATE SCHEMA tramline"));
/// ```
pub fn migrations() -> String {
    let mut all = String::new();
    for (index, step) in STEPS.iter().enumerate() {
        let version = index + 1;
        all.push_str(&format!(
            "-- Version {version}. Run it only in a database whose tables have version {index}.\n\
             BEGIN;\n{LOCK};\n\n{step}\n{};\nCOMMIT;\n",
            done(version)
        ));
    }
    all
}

/// The end of a step. Older programs at work read their routes anew, and find that they are outdated.
fn done(version: usize) -> String {
    format!(
        "UPDATE tramline.schema SET version = {version};\n\
         UPDATE tramline.topology SET version = version + 1"
    )
}

/// Brings the database to the newest version. Processes that start together take turns: the second
/// finds the work done. Reads only, where there is nothing to do.
///
/// # Errors
/// [`ErrorKind::Outdated`]: a newer program has migrated the database. [`ErrorKind::Misconfigured`]: the
/// rights for it are missing.
pub(crate) async fn migrate(connected: &Connected, target: &str) -> Result<()> {
    if version(connected, target).await? == NEWEST {
        return Ok(());
    }
    let on_database = |error: tokio_postgres::Error| {
        failed(format!("make the tables of the bus in {target}"), &error)
    };
    connected.run("BEGIN").await.map_err(on_database)?;
    let done = steps(connected, target).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connected.run(end).await;
    // The first error is the one to tell; a failed roll back ends with the connection.
    done?;
    ended.map_err(on_database)
}

async fn steps(connected: &Connected, target: &str) -> Result<()> {
    let doing = || format!("make the tables of the bus in {target}");
    connected.run(LOCK).await.map_err(|error| failed(doing(), &error))?;
    let version = version(connected, target).await?;
    for (index, step) in STEPS.iter().enumerate().skip(version as usize) {
        let written = format!("{step}\n{}", done(index + 1));
        connected.run(&written).await.map_err(|error| match error.code() {
            Some(state) if state.code() == "42501" => Error::new(ErrorKind::Misconfigured, doing())
                .because(format!(
                    "{}; let an administrator run the SQL of `tramline::postgres::migrations()`, \
                     or grant CREATE on the database",
                    crate::error::words(&error)
                )),
            _ => failed(doing(), &error),
        })?;
    }
    Ok(())
}

/// That an administrator has run everything.
///
/// # Errors
/// [`ErrorKind::Outdated`]: a newer program has migrated the database. [`ErrorKind::Misconfigured`]: there is
/// something left to be run.
pub(crate) async fn check(connected: &Connected, target: &str) -> Result<()> {
    let why = match version(connected, target).await? {
        NEWEST => return Ok(()),
        0 => {
            "it has no tables of the bus; run the SQL of `tramline::postgres::migrations()`".into()
        }
        older => format!(
            "its tables have version {older} and this program needs {NEWEST}; run what \
             `tramline::postgres::migrations()` has for the versions from {} on",
            older + 1
        ),
    };
    Err(Error::new(ErrorKind::Misconfigured, format!("open {target}")).because(why))
}

/// The version of the tables, which this program knows; 0 when there are none.
///
/// # Errors
/// [`ErrorKind::Outdated`]: it is a newer one. Or it cannot be read.
pub(crate) async fn version(connected: &Connected, target: &str) -> Result<i32> {
    let doing = || format!("read the version of the tables of the bus in {target}");
    // Whoever lacks the rights sees it there, too.
    let exists = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema'
         AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'tramline'))";
    let row = connected.query_one(exists, &[]).await.map_err(|error| failed(doing(), &error))?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let version = connected.query_one("SELECT version FROM tramline.schema", &[]).await;
    let version: i32 = version
        .map_err(|error| match kind(&error) {
            ErrorKind::Misconfigured => {
                Error::new(ErrorKind::Misconfigured, doing()).because(format!(
                    "{}; the user needs USAGE on the schema tramline, all rights on its tables, \
                     and USAGE and SELECT on its sequences",
                    crate::error::words(&error)
                ))
            }
            _ => failed(doing(), &error),
        })?
        .get(0);
    if version > NEWEST {
        return Err(Error::new(ErrorKind::Outdated, format!("open {target}")).because(format!(
            "its tables have version {version} and this program knows versions up to {NEWEST}; \
             a newer program has written them: start that one instead"
        )));
    }
    Ok(version)
}
