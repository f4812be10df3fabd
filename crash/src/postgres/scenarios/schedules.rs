//! Processes that share schedules are killed and stopped, and the server with all its back ends in between.

use super::World;
use crate::postgres::command::SUBJECT;
use crate::postgres::server::Stop;
use crate::schedules::{Course, Ground};
use std::time::Duration;
use tramline::core::Result;
use tramline::postgres::sqlx::{self, Row};
use tramline::{Failure, Postgres, Tx};

/// How long the dead keep what they took.
const LEASE: Duration = Duration::from_millis(1500);
const WAYS: [Stop; 3] = [Stop::Killed, Stop::Fast, Stop::Immediate];

pub(super) async fn run(world: &World) -> std::result::Result<String, String> {
    let kills = world.sized(15, 60);
    let stops = world.sized(2, 6);
    let database = world.database("schedules").await?;
    let course = Course {
        folder: world.folder.clone(),
        at: database.url(""),
        seed: world.seed,
        kills,
        is_patient: true,
        done_within: world.patience(),
    };
    let mut stopped = 0;
    let disturb = async |kill| {
        // Not before the first kill, and as often as that from then on.
        if kill % (kills / (stops + 1)) == 1 && stopped < stops {
            world.server.stop(WAYS[stopped as usize % WAYS.len()]).await?;
            world.server.up().await?;
            stopped += 1;
        }
        Ok(())
    };
    let figures = course.run::<Postgres>(disturb).await?;
    if stopped < stops {
        return Err(format!("the server was stopped {stopped} times only: this shows little"));
    }
    database.remove().await?;
    Ok(format!("{stopped} stops of the server, {figures}"))
}

impl Ground for Postgres {
    const SUBJECT: &'static str = SUBJECT;

    async fn open(place: &str) -> Result<Self> {
        Self::options(place).lease(LEASE).open().await
    }

    async fn note(
        tx: &mut Tx<Self>,
        endpoint: &str,
        number: u64,
    ) -> std::result::Result<(), Failure> {
        const SQL: &str = "INSERT INTO effect (endpoint, number, key) VALUES ($1, $2, '')";
        let insert = sqlx::query(SQL).bind(endpoint).bind(number.cast_signed());
        insert.execute(tx.connection().await?).await?;
        Ok(())
    }

    async fn effects(&self) -> std::result::Result<Vec<(String, u64)>, Failure> {
        let all = sqlx::query("SELECT endpoint, number FROM effect").fetch_all(self.pool()).await?;
        let read =
            all.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.cast_unsigned())));
        Ok(read.collect::<std::result::Result<_, sqlx::Error>>()?)
    }
}
