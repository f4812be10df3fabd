//! Who handles what leaves, and what recurs: the same in every process.

use super::ground::Ground;
use super::message::{Remind, Tick};
use super::planned::plan;
use std::time::Duration;
use tramline::schedules::SCHEDULED_FOR;
use tramline::{Bus, BusBuilder, CatchUp, Endpoint, Failure, Headers, Recurring, Retry, Tx};

/// Writes down what has fired.
pub(super) const FIRED: &str = "fired";
/// Writes down the moments.
pub(super) const TICKS: &str = "ticks";
/// Plans what it is asked to.
pub(super) const PLANNING: &str = "planning";

/// What recurs all the time, and what is paused in between.
pub(super) const STEADY: &str = "steady";
pub(super) const PAUSED: &str = "paused";

pub(super) const TICK: Duration = Duration::from_millis(20);

/// Who meets a server that is away has failed, too.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const RUNS_MAX: u32 = 100;

/// A bus that fires and handles what is there, and that nothing recurs on.
pub(super) fn builder<G: Ground>(ground: &G) -> BusBuilder<G> {
    let endpoint = |name| Endpoint::new(name).retry(Retry::fixed(RETRY_PAUSE).runs(RUNS_MAX));
    Bus::builder(ground.clone())
        .store(ground.clone())
        .schedules(ground)
        .endpoint(endpoint(FIRED).subscribe::<Remind>().transactional().handle(fired::<G>))
        .endpoint(endpoint(TICKS).subscribe::<Tick>().transactional().handle(ticked::<G>))
        .endpoint(endpoint(PLANNING).transactional().handle(plan::<G>))
}

/// The same, and what recurs.
pub(super) fn recurring<G: Ground>(ground: &G) -> BusBuilder<G> {
    [STEADY, PAUSED].into_iter().fold(builder(ground), |builder, name| {
        let every = Recurring::every(TICK).after_downtime(CatchUp::All);
        builder.recurring(name, every, Tick { name: name.to_owned() })
    })
}

async fn fired<G: Ground>(remind: Remind, mut tx: Tx<G>) -> Result<(), Failure> {
    G::note(&mut tx, FIRED, remind.number).await
}

async fn ticked<G: Ground>(tick: Tick, headers: Headers, mut tx: Tx<G>) -> Result<(), Failure> {
    let moment = headers.get(SCHEDULED_FOR).and_then(|moment| moment.as_int());
    let moment = moment.ok_or_else(|| Failure::permanent("it is for no moment"))?;
    G::note(&mut tx, &tick.name, moment.cast_unsigned()).await
}
