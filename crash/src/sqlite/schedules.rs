//! The case of schedules, on a file.

use super::consumer::{FILE, LEASE};
use crate::schedules::{Bug, Course, Ground};
use crate::servers::runtime;
use std::path::Path;
use std::time::Duration;
use tramline::core::Result;
use tramline::sqlite::rusqlite::Connection;
use tramline::{Failure, Sqlite, Tx};

const KILLS: u64 = 25;
const DONE_WITHIN: Duration = Duration::from_secs(30);

impl Ground for Sqlite {
    const SUBJECT: &'static str = "sqlite";

    async fn open(place: &str) -> Result<Self> {
        Self::options(place).lease(LEASE).open().await
    }

    async fn note(tx: &mut Tx<Self>, endpoint: &str, number: u64) -> Result<(), Failure> {
        let endpoint = endpoint.to_owned();
        tx.write(move |db| {
            let insert = "INSERT INTO effect (endpoint, number, key) VALUES (?1, ?2, '')";
            db.execute(insert, (&endpoint, number.cast_signed()))?;
            Ok(())
        })
    }

    async fn effects(&self) -> Result<Vec<(String, u64)>, Failure> {
        self.read(|db| {
            let all = "SELECT endpoint, number FROM effect";
            let rows = db
                .query_map(all, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())));
            Ok(rows?)
        })
        .await
    }
}

/// Runs the case once in `folder`, which is empty. What it tells is what it has seen.
pub(crate) fn run(
    folder: &Path,
    seed: u64,
    plant: Option<Bug>,
) -> std::result::Result<String, String> {
    let at = folder.join(FILE).display().to_string();
    let runtime = runtime()?;
    runtime.block_on(prepare(&at, plant)).map_err(|failure| failure.to_string())?;
    let folder = folder.to_owned();
    let done_within = DONE_WITHIN;
    let course = Course { folder, at, seed, kills: KILLS, is_patient: false, done_within };
    let figures = runtime.block_on(course.run::<Sqlite>(async |_| Ok(())))?;
    Ok(figures.to_string())
}

/// Makes the file, and plants in it what is to be found.
async fn prepare(at: &str, plant: Option<Bug>) -> Result<(), Failure> {
    const EFFECT: &str = "CREATE TABLE effect
         (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER, key TEXT)";
    let sqlite = Sqlite::open(at).await?;
    sqlite.write(move |db| Ok(db.execute(EFFECT, []).map(drop)?)).await?;
    // A handle of the bus does not let anybody touch its tables.
    match plant {
        Some(bug) => Ok(Connection::open(at)?.execute_batch(bug.sqlite())?),
        None => Ok(()),
    }
}
