//! The loop of a run.

use super::bar::Bar;
use super::broker;
use super::look::{Gauge, Look, look};
use super::stillness::Stillness;
use crate::chaos::{Kill, Victim};
use crate::clock::SharedClock;
use crate::database::{Database, KillRecord};
use crate::order::Order;
use crate::post::Poster;
use crate::trouble::Trouble;
use crate::workers::Supervisor;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tramline::Bus;

/// Where a run takes place.
pub(crate) struct Site {
    pub(crate) bus: Bus,
    pub(crate) database: Database,
    pub(crate) clock: SharedClock,
    /// Where orders are placed.
    pub(crate) address: SocketAddr,
    /// None where everything is in one process.
    pub(crate) supervisor: Option<Supervisor>,
    /// How it is seen how far a run is.
    pub(crate) gauge: Gauge,
    /// The server that is killed when the broker is to die.
    pub(crate) broker_service: Option<String>,
}

/// Orders on their way.
pub(crate) struct Run<'a> {
    site: &'a mut Site,
    number: i64,
    poster: Poster,
    /// Whether more orders may be placed.
    open: watch::Sender<bool>,
    kills: VecDeque<Kill>,
    bar: Bar,
    seen_at: Instant,
}

/// How often the tables are told that the run is still at work.
const SEE_EVERY: Duration = Duration::from_secs(1);
/// With more than so many messages waiting or at work, no further orders are placed: they would
/// only wait longer.
const BACKLOG_MAX: u64 = 4_000;
/// How many idle looks in a row are the end; see [`look`].
const IDLE_LOOKS: u32 = 2;

impl Site {
    /// Ends when workers cannot be kept running, or the bus stops by itself; never while all goes
    /// well. Cancel-safe.
    pub(crate) async fn failed(&mut self) -> Trouble {
        let workers = async {
            match &mut self.supervisor {
                Some(supervisor) => supervisor.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            trouble = workers => trouble,
            Err(error) = self.bus.until_stopping() => Trouble::of(error),
        }
    }
}

impl<'a> Run<'a> {
    /// Begins to place `orders`, of `total` that there are in all, and to kill workers as planned.
    pub(crate) async fn begin(
        site: &'a mut Site,
        orders: Vec<Order>,
        total: u64,
        kills: Vec<Kill>,
    ) -> Result<Self, Trouble> {
        let number = site.database.begin_run(site.clock.now()).await.map_err(Trouble::of)?;
        let open = watch::Sender::new(true);
        let poster = Poster::start(site.address, orders, &open.subscribe());
        let (kills, bar, seen_at) = (kills.into(), Bar::new(total), Instant::now());
        Ok(Self { site, number, poster, open, kills, bar, seen_at })
    }

    /// Goes on until every order is placed, everything that follows from them has happened, and
    /// every planned kill too.
    ///
    /// # Errors
    /// An order was not accepted, workers cannot be kept running, or nothing moves any more.
    pub(crate) async fn finish(mut self) -> Result<(), Trouble> {
        let mut stillness = Stillness::new(Instant::now());
        let mut idle_looks = 0;
        while idle_looks < IDLE_LOOKS {
            let look = self.look().await?;
            self.kill(&look).await?;
            let is_over = self.poster.is_finished() && self.kills.is_empty() && look.is_idle();
            idle_looks = if is_over { idle_looks + 1 } else { 0 };
            if stillness.hangs(&look, Instant::now()) {
                return Err(Trouble::broken(format!("the run hangs: {look}")));
            }
            let Self { site, poster, .. } = &mut self;
            tokio::select! {
                () = tokio::time::sleep(site.gauge.look_every()) => {}
                posted = poster.finished(), if !poster.is_finished() => posted?,
                trouble = site.failed() => return Err(trouble),
            }
        }
        self.see().await
    }

    async fn look(&mut self) -> Result<Look, Trouble> {
        let Site { bus, database, gauge, .. } = &*self.site;
        let look = look(bus, database, *gauge).await.map_err(Trouble::of)?;
        self.bar.show(&look, Instant::now());
        self.open.send_replace(look.backlog() < BACKLOG_MAX);
        if self.seen_at.elapsed() >= SEE_EVERY {
            self.see().await?;
        }
        Ok(look)
    }

    async fn see(&mut self) -> Result<(), Trouble> {
        self.seen_at = Instant::now();
        let now = self.site.clock.now();
        self.site.database.see_run(self.number, now).await.map_err(Trouble::of)
    }

    /// Kills somebody if it is time to. One kill a look: the next one finds another worker ready.
    async fn kill(&mut self, look: &Look) -> Result<(), Trouble> {
        let done = look.orders_done();
        let Some(kill) = self.kills.pop_front_if(|kill| kill.orders_done <= done) else {
            return Ok(());
        };
        let (worker, process) = match (kill.victim, &mut self.site.supervisor) {
            (Victim::Worker(worker), Some(supervisor)) => {
                (worker as i64, supervisor.kill(worker).await?)
            }
            (Victim::Worker(_), None) => return Ok(()),
            (Victim::Broker, _) => {
                let Some(service) = &self.site.broker_service else { return Ok(()) };
                broker::kill(service).await?;
                (KillRecord::BROKER, 0)
            }
        };
        let killed_at = self.site.clock.now();
        let record = KillRecord { run: self.number, killed_at, worker, process };
        self.site.database.record_kill(record).await.map_err(Trouble::of)
    }
}
