//! Two relays to RabbitMQ are killed while ten writers write business rows and events, in one
//! transaction each.

use super::World;
use crate::dice::Dice;
use crate::postgres::database::Database;
use crate::postgres::order::{Effect, out_of_order};
use crate::postgres::relay::{leases, name, process, start};
use crate::postgres::writer::{By, Writer, tables};
use crate::servers::{Placed, Process, drain, list, until};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tramline::postgres::sqlx::Row;
use tramline::postgres::sqlx::postgres::PgPool;
use tramline::{Bus, Endpoint, Failure};
use tramline_services::testing::Vhost;

const RELAYS: u64 = 2;
const KILLS: u64 = 50;
/// A bug that is looked for shows sooner.
const KILLS_TO_FIND: u64 = 8;
/// In this process, by plain SQL; and in each relay's, through its bus. They are ten.
const WRITERS_HERE: u64 = 6;
const WRITERS_OF_A_RELAY: u64 = 2;
/// So many must have had rows in hand when they were killed, of so many at most.
const AT_WORK_MIN: u64 = 2;
const KILLS_MAX: u64 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What has not arrived is lost if nothing has come or gone for so long: a relay that was killed before it had
/// shown that it lives keeps its rows for 30 s.
const QUIET: Duration = Duration::from_secs(45);

pub(super) async fn run(world: &World) -> Result<String, String> {
    let vhost = Vhost::fresh().ok_or("there is no RabbitMQ to relay to")?;
    let database = world.database("relays").await?;
    database.run(&tables()).await?;
    let arrived = Arrivals::default();
    let listener = arrived.listen(vhost.url.as_str()).await?;

    let mut relays: Vec<Process> = (0..RELAYS)
        .map(|index| {
            let store = database.url(&format!("?application_name={}", name(index)));
            let seed = world.seed.wrapping_mul(100) + 10 * index;
            let urls = [store, vhost.url.to_string()];
            process(&world.record(), urls, index, seed, WRITERS_OF_A_RELAY)
        })
        .collect();
    for relay in &mut relays {
        relay.start()?;
    }
    let (stop, mut writers) = (CancellationToken::new(), JoinSet::new());
    let pool = PgPool::connect(&database.url("?application_name=writers")).await;
    let pool = pool.map_err(|error| format!("failed to connect: {error}"))?;
    for index in 0..WRITERS_HERE {
        let writer = Writer::new(pool.clone(), By::Sql, world.seed ^ (index << 56));
        writers.spawn(writer.write_until(stop.clone()));
    }
    let mut dice = Dice::new(world.seed);
    let (mut killed, mut at_work) = (0, 0);
    // What its earlier lives had is not its own.
    let mut earlier = vec![BTreeSet::new(); relays.len()];
    // One who had nothing in hand shows little; one who had may have sent all of it.
    let kills = world.plant.map_or(KILLS, |_| KILLS_TO_FIND);
    while killed < kills || at_work < AT_WORK_MIN {
        if killed == KILLS_MAX {
            return Err(format!("of {killed} relays that were killed {at_work} were at work"));
        }
        arrived.progress(20 + dice.below(100)).await?;
        tokio::time::sleep(dice.millis(0..150)).await;
        let index = dice.below(RELAYS);
        let relay = &mut relays[index as usize];
        if relay.has_died()? {
            return Err("a relay ended by itself".to_owned());
        }
        let earlier = &mut earlier[index as usize];
        begins(&database, index, earlier).await?;
        relay.kill()?;
        killed += 1;
        dies(&database, index).await?;
        let had = leases_of(&database, index).await?;
        at_work += u64::from(!had.is_subset(earlier));
        *earlier = had;
        relay.start()?;
    }
    arrived.progress(100).await?;
    stop.cancel();
    while let Some(ended) = writers.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    relays.iter_mut().try_for_each(Process::kill)?;

    // Whatever is left, one of them alone sends.
    let (bus, _) = start(&database.url(""), vhost.url.as_str(), RELAYS).await?;
    let counted = settled(&database, &arrived).await;
    drain(&bus).await?;
    drain(&listener).await?;
    let counted = counted?;
    database.remove().await?;
    Ok(format!("{killed} kills of relays, {at_work} with rows in hand: {counted}"))
}

/// Waits until a relay has taken something; it need not have it for long.
async fn begins(database: &Database, index: u64, earlier: &BTreeSet<i64>) -> Result<(), String> {
    const WITHIN: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + WITHIN;
    while leases_of(database, index).await?.is_subset(earlier) && Instant::now() < deadline {}
    Ok(())
}

async fn leases_of(database: &Database, index: u64) -> Result<BTreeSet<i64>, String> {
    let rows = database.rows(&leases(index)).await?;
    let leases: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
    leases.map_err(|error| format!("failed to read leases: {error}"))
}

/// Waits until a relay that was killed is gone for the server, too.
async fn dies(database: &Database, index: u64) -> Result<(), String> {
    const WITHIN: Duration = Duration::from_secs(30);
    let sessions =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", name(index));
    let deadline = Instant::now() + WITHIN;
    while database.count(&sessions).await? > 0 {
        if Instant::now() >= deadline {
            return Err(format!("after {WITHIN:?} {} still has sessions", name(index)));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Waits until everything has arrived and the outbox is empty, and judges.
async fn settled(database: &Database, arrived: &Arrivals) -> Result<String, String> {
    const OUTBOX: &str = "SELECT (SELECT count(*) FROM tramline.outbox)
        + (SELECT count(*) FROM tramline.outbox_delayed) + (SELECT count(*) FROM tramline.outbox_aside)";
    let committed = committed(database).await?;
    let (mut known, mut since) = ((0, 0), Instant::now());
    let twice = loop {
        let left = database.count(OUTBOX).await?;
        let all = arrived.all();
        let Verdict { mut lost, faults, twice } = judge(&committed, &all);
        if !faults.is_empty() {
            return Err(list(faults));
        }
        if left == 0 && lost.is_empty() {
            break twice;
        }
        if (all.len(), left) != known {
            (known, since) = ((all.len(), left), Instant::now());
        }
        if since.elapsed() >= QUIET {
            lost.insert(0, format!("{left} rows are in the outbox, and nothing arrives"));
            return Err(list(lost));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let parked = database.count("SELECT count(*) FROM tramline.outbox_aside").await?;
    Ok(format!("{} committed, 0 lost, {twice} twice, {parked} parked", committed.len()))
}

/// What has arrived at the broker, in its order there.
#[derive(Clone, Default)]
struct Arrivals(Arc<Mutex<Vec<Effect>>>);

impl Arrivals {
    /// Begins to note it, one after the other.
    async fn listen(&self, broker: &str) -> Result<Bus, String> {
        let arrivals = self.0.clone();
        let note = move |placed: Placed| {
            let Placed { number, key, .. } = placed;
            arrivals.lock().push(Effect { number, key });
            async { Ok::<(), Failure>(()) }
        };
        let endpoint = Endpoint::new("arrived").subscribe::<Placed>();
        let endpoint = endpoint.concurrency(1).prefetch(500).handle(note);
        let connected = Bus::connect(broker).await.map_err(|error| error.to_string())?;
        connected.endpoint(endpoint).start().await.map_err(|error| error.to_string())
    }

    fn all(&self) -> Vec<Effect> {
        self.0.lock().clone()
    }

    /// Waits until so many more have arrived.
    async fn progress(&self, more: u64) -> Result<(), String> {
        let count = || self.0.lock().len() as u64;
        let goal = count() + more;
        until(|| count() >= goal, || format!("not {more} more events have arrived")).await
    }
}

/// What was committed: nobody knows better than the business rows.
async fn committed(database: &Database) -> Result<BTreeSet<u64>, String> {
    let rows = database.rows("SELECT number FROM booking").await?;
    let numbers = rows.iter().map(|row| row.try_get::<i64, _>(0).map(i64::cast_unsigned));
    let numbers: Result<_, _> = numbers.collect();
    numbers.map_err(|error| format!("failed to read bookings: {error}"))
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// What was committed and has not arrived, in words.
    lost: Vec<String>,
    /// Everything else that does not hold.
    faults: Vec<String>,
    /// How many have arrived more than once.
    twice: usize,
}

fn judge(committed: &BTreeSet<u64>, arrived: &[Effect]) -> Verdict {
    let numbers: BTreeSet<u64> = arrived.iter().map(|effect| effect.number).collect();
    let lost = committed.difference(&numbers);
    let lost = lost.map(|number| format!("{number} was committed and is lost")).collect();
    let rolled_back = numbers.difference(committed);
    let rolled_back = rolled_back.map(|number| format!("{number} was rolled back and has arrived"));
    let faults = rolled_back.chain(out_of_order(arrived)).collect();
    Verdict { lost, faults, twice: arrived.len() - numbers.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(numbers: &[u64]) -> Vec<Effect> {
        numbers.iter().map(|number| Effect { number: *number, key: String::new() }).collect()
    }

    #[test]
    fn everything_that_was_committed_has_to_arrive_and_nothing_else() {
        let committed = BTreeSet::from([1, 2, 4]);
        let sound = judge(&committed, &effects(&[1, 2, 1, 4]));
        assert_eq!(sound, Verdict { twice: 1, ..Verdict::default() });
        let unsound = judge(&committed, &effects(&[2, 1, 3]));
        assert_eq!(unsound.lost, ["4 was committed and is lost"]);
        assert_eq!(
            unsound.faults,
            ["3 was rolled back and has arrived", "of key , 1 came behind 2"]
        );
    }
}
