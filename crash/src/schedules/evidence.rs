//! What is found when all processes have ended.

use super::ground::Ground;
use super::message::story_named;
use super::notes::{self, Note};
use super::planned::{DONE, MUST, NEVER};
use super::service::{FIRED, PAUSED, PLANNING, STEADY};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::core::store::RecurringRow;
use tramline::core::store::Schedules;
use tramline::{Failure, QueueName};

/// How often each number is there.
pub(super) type Times = BTreeMap<u64, usize>;

/// What named schedules are judged by. Numbers of messages, or of stories.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) scheduled: BTreeSet<u64>,
    pub(super) cancelling: BTreeSet<u64>,
    pub(super) cancelled: BTreeSet<u64>,
    pub(super) late: BTreeSet<u64>,
    pub(super) replacing: BTreeSet<u64>,
    pub(super) replaced_in_time: BTreeSet<u64>,
    /// By those who told the stories, and by handlers that have committed.
    pub(super) never: BTreeSet<u64>,
    /// By handlers that have committed.
    pub(super) must: BTreeSet<u64>,
    pub(super) fired: Times,
    /// Stories that a handler was asked to plan, and of which it has committed.
    pub(super) asked: BTreeSet<u64>,
    pub(super) done: Times,
    /// How many handlers were asked that always fail, and how many dead letters there are.
    pub(super) dying: usize,
    pub(super) dead: u64,
    /// Stories that still wait.
    pub(super) waiting: BTreeSet<u64>,
    /// Names that wait although they are due, or soon.
    pub(super) overdue: Vec<String>,
}

/// What something that recurs is judged by: milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Recurred {
    pub(super) moments: Times,
    /// The next one, as it stands in the store.
    pub(super) next: u64,
    /// When it was about to be paused, and when it was resumed.
    pub(super) pausing: BTreeSet<u64>,
    pub(super) resumed: BTreeSet<u64>,
    pub(super) silent: Vec<notes::Silence>,
}

/// All of it.
pub(super) struct Evidence {
    pub(super) named: Named,
    pub(super) steady: Recurred,
    pub(super) paused: Recurred,
}

/// What waits for longer is not to fire in the case.
const FAR_MICROS: i64 = 600 * 1_000_000;
const ALL: u32 = 100_000;

/// Names that wait, and are due now or soon.
pub(super) async fn overdue<G: Ground>(ground: &G) -> Result<Vec<String>, Failure> {
    let until = Timestamp::from_micros(SystemClock.now().as_micros() + FAR_MICROS);
    let waiting = keeper(ground)?.waiting(None, ALL).await.map_err(Failure::permanent)?;
    Ok(waiting.into_iter().filter(|row| row.due < until).map(|row| row.name).collect())
}

/// How many messages of a queue are neither handled nor dead, and how many are.
pub(super) async fn depth<G: Ground>(ground: &G, queue: &str) -> Result<(u64, u64), Failure> {
    let operate = ground.operate().ok_or_else(|| Failure::permanent("it cannot be looked into"))?;
    let queue = QueueName::new(queue).map_err(Failure::permanent)?;
    let depth = operate.depth(&queue).await.map_err(Failure::permanent)?;
    let figures = [depth.ready, depth.leased, depth.delayed, depth.dead].map(|f| f.known());
    match figures {
        [Some(ready), Some(leased), Some(delayed), Some(dead)] => {
            Ok((ready + leased + delayed, dead))
        }
        _ => Err(Failure::permanent("the depth of a queue is not known")),
    }
}

impl Evidence {
    pub(super) async fn collect<G: Ground>(ground: &G, folder: &Path) -> Result<Self, Failure> {
        let read = |note| notes::read(folder, note);
        let mut effects = BTreeMap::<String, Times>::new();
        for (endpoint, number) in ground.effects().await? {
            *effects.entry(endpoint).or_default().entry(number).or_default() += 1;
        }
        let mut taken = |endpoint: &str| effects.remove(endpoint).unwrap_or_default();
        let mut never = read(Note::Never)?;
        never.extend(taken(NEVER).into_keys());
        let waiting = keeper(ground)?.waiting(None, ALL).await.map_err(Failure::permanent)?;
        let named = Named {
            scheduled: read(Note::Scheduled)?,
            cancelling: read(Note::Cancelling)?,
            cancelled: read(Note::Cancelled)?,
            late: read(Note::Late)?,
            replacing: read(Note::Replacing)?,
            replaced_in_time: read(Note::ReplacedInTime)?,
            never,
            must: taken(MUST).into_keys().collect(),
            fired: taken(FIRED),
            asked: read(Note::Asked)?,
            done: taken(DONE),
            dying: read(Note::Dies)?.len(),
            dead: depth(ground, PLANNING).await?.1,
            waiting: waiting.iter().filter_map(|row| story_named(&row.name)).collect(),
            overdue: overdue(ground).await?,
        };
        let now = SystemClock.now();
        let rows = keeper(ground)?.look(0, now).await.map_err(Failure::permanent)?.recurring;
        let mut recurred = |name: &str| Recurred {
            moments: taken(name),
            next: next(&rows, name),
            ..Recurred::default()
        };
        let steady = recurred(STEADY);
        let silent = read(Note::Silent)?.into_iter().map(notes::Silence::of).collect();
        let (pausing, resumed) = (read(Note::Pausing)?, read(Note::Resumed)?);
        let paused = Recurred { pausing, resumed, silent, ..recurred(PAUSED) };
        Ok(Self { named, steady, paused })
    }
}

fn next(rows: &[RecurringRow], name: &str) -> u64 {
    let row = rows.iter().find(|row| row.name == name);
    row.map_or(0, |row| row.due.as_millis().cast_unsigned())
}

fn keeper<G: Ground>(ground: &G) -> Result<&dyn Schedules, Failure> {
    ground.schedules().ok_or_else(|| Failure::permanent("it keeps no schedules"))
}
