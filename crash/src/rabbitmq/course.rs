//! What every scenario has: a load, a service that handles it, and the count at the end.

use super::broker::Vhost;
use super::evidence::evidence;
use super::planted::{self, Bug};
use super::service::Service;
use crate::servers::{Load, Outcome, Record, Style, Verdict, drain, judge, list, until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tramline::Bus;
use tramline::core::clock::Timestamp;
use tramline::core::health::Health;

/// How old a quorum queue must be before its broker is killed.
const FIRST_DECLARATION: Duration = Duration::from_secs(4);
/// How long everything that was confirmed may take to be handled. A broker that hands a message from
/// stage to stage tries again after up to six minutes, if the next did not take it; servers of our own
/// after twenty seconds.
pub(crate) const HANDLED_WITHIN: Duration = Duration::from_secs(400);
/// How often it counts what was handled.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// A scenario under way.
pub(crate) struct Course {
    pub(crate) load: Load,
    /// `None` where processes of their own handle.
    pub(crate) service: Option<Bus>,
    pub(crate) count: Count,
    style: Style,
}

/// What is counted, and where.
pub(crate) struct Count {
    pub(crate) record: Record,
    pub(crate) endpoints: Vec<&'static str>,
    /// Where the dead letters are; none may be there if that is not said.
    pub(crate) vhost: Option<Vhost>,
    /// What was in queues that were deleted.
    pub(crate) deleted: BTreeSet<u64>,
    /// After so long what was confirmed and is not handled is lost.
    pub(crate) patience: Duration,
}

impl Course {
    /// Starts a service in this process, and then the producers, at the same URL.
    pub(crate) async fn begin(url: &str, count: Count, style: Style) -> Result<Self, String> {
        Self::begin_planted(url, None, count, style).await
    }

    /// The same, with a bug in what the producers send with.
    pub(crate) async fn begin_planted(
        url: &str,
        plant: Option<Bug>,
        count: Count,
        style: Style,
    ) -> Result<Self, String> {
        let service = Service::new(url.to_owned(), &count.endpoints);
        let service = service.start(&count.record, "service").await?;
        let load = load(url, plant, &count.record, &style).await?;
        Ok(Self { load, service: Some(service), count, style })
    }

    /// Starts a service in this process, beside producers that began without one.
    pub(crate) async fn serve(&mut self, url: &str) -> Result<(), String> {
        let service = Service::new(url.to_owned(), &self.count.endpoints);
        self.service = Some(service.start(&self.count.record, "service").await?);
        Ok(())
    }

    /// Starts producers. Whoever handles must have subscribed.
    pub(crate) async fn begin_without_service(
        url: &str,
        count: Count,
        style: Style,
    ) -> Result<Self, String> {
        let load = load(url, None, &count.record, &style).await?;
        Ok(Self { load, service: None, count, style })
    }

    /// Waits until everything that is declared when it is first needed is there, and for long enough.
    pub(crate) async fn settle_in(&mut self) -> Result<(), String> {
        self.load.visit_stages(&self.count.record, &self.style).await?;
        self.load.progress(500).await?;
        // RabbitMQ 3.10 of one node that is killed a moment after a quorum queue was first declared
        // never serves that queue again; that is the broker's, and nothing that a client can mend.
        tokio::time::sleep(FIRST_DECLARATION).await;
        self.load.progress(1).await
    }

    /// Waits until service and producers say that they make their connections again, and why, since a
    /// moment that is not before `lost`. Each may do so in its time, and have new ones when the others
    /// do.
    pub(crate) async fn disconnected(&self, lost: Timestamp) -> Result<(), String> {
        let says_so = move |health: Health| match health {
            Health::Reconnecting { since, error } => since >= lost && !error.is_empty(),
            _ => false,
        };
        let notices = |bus: &Bus| {
            let (bus, told) = (bus.clone(), bus.clone());
            until(
                move || says_so(bus.health()),
                move || format!("a lost connection was not noticed: {:?}", told.health()),
            )
        };
        let all = self.buses().map(notices);
        futures_util::future::try_join_all(all).await.map(drop)
    }

    /// Waits until service and producers are connected.
    pub(crate) async fn connected(&self) -> Result<(), String> {
        let is_up = || self.buses().all(|bus| bus.health().is_connected());
        until(is_up, || "the connections did not come back".to_owned()).await
    }

    fn buses(&self) -> impl Iterator<Item = &Bus> {
        self.service.iter().chain([&self.load.bus])
    }

    /// Stops the producers, waits until everything was handled, stops the service, and judges.
    pub(crate) async fn end(mut self) -> Result<Outcome, String> {
        self.finish().await?;
        self.close().await
    }

    /// Stops the producers, and waits until everything was handled.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.load.stop().await?;
        self.count.wait_until_handled().await?;
        // Whatever is in the queues twice stands before it.
        self.load.last_words(&self.count.record, &self.style).await?;
        self.count.wait_until_handled().await
    }

    /// Stops the service, and judges.
    pub(crate) async fn close(self) -> Result<Outcome, String> {
        let answers = self.load.close().await?;
        if let Some(service) = self.service {
            drain(&service).await?;
        }
        Ok(Outcome { answers: Some(answers), ..self.count.outcome()? })
    }
}

impl Count {
    /// Waits until everything that was confirmed was handled or is dead.
    pub(crate) async fn wait_until_handled(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let Verdict { lost, faults, .. } = self.verdict()?;
            match (lost.is_empty(), faults.is_empty()) {
                (_, false) => return Err(list(faults)),
                (true, true) => return Ok(()),
                _ if Instant::now() >= deadline => {
                    return Err(format!("after {:?}:\n{}", self.patience, list(lost)));
                }
                _ => tokio::time::sleep(COUNT_EVERY).await,
            }
        }
    }

    /// The count of everything, when nobody is at work any more.
    pub(crate) fn outcome(&self) -> Result<Outcome, String> {
        let mut verdict = self.verdict()?;
        if let Some(vhost) = &self.vhost {
            let undeliverable = vhost.undeliverable()?;
            if undeliverable > 0 {
                verdict.faults.push(format!("{undeliverable} delayed messages found no target"));
            }
        }
        let faults: Vec<String> = verdict.lost.drain(..).chain(verdict.faults.drain(..)).collect();
        if faults.is_empty() { Ok(Outcome { verdict, answers: None }) } else { Err(list(faults)) }
    }

    fn verdict(&self) -> Result<Verdict, String> {
        let mut evidence = evidence(&self.record, &self.endpoints)?;
        if let Some(vhost) = &self.vhost {
            evidence.dead = vhost.dead(&self.endpoints)?;
        }
        evidence.deleted.clone_from(&self.deleted);
        Ok(judge(&evidence))
    }
}

async fn load(
    url: &str,
    plant: Option<Bug>,
    record: &Record,
    style: &Style,
) -> Result<Load, String> {
    let connected = planted::connect(url, plant).await;
    Load::start(connected.map_err(|error| error.to_string())?, record, style).await
}
