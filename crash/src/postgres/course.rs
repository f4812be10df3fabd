//! What every scenario with a load has: producers, a service that handles, and the count at the end.

use super::database::Database;
use super::evidence::{disorder, evidence, left};
use super::planted::{self, Bug};
use super::service::{ORDERED, Service};
use crate::servers::{Answers, Load, Outcome, Record, Style, Verdict, drain, judge, list};
use std::time::{Duration, Instant};
use tramline::Bus;

/// How often it counts what was handled.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// A scenario under way.
pub(crate) struct Course {
    pub(crate) load: Load,
    /// `None` where processes of their own handle.
    service: Option<Bus>,
    count: Count,
    style: Style,
}

/// What is counted, and where.
pub(crate) struct Count {
    pub(crate) record: Record,
    pub(crate) database: Database,
    pub(crate) endpoints: Vec<&'static str>,
    /// How long everything that was confirmed may take to be handled.
    pub(crate) patience: Duration,
}

impl Course {
    /// Starts a service in this process, and then producers.
    pub(crate) async fn begin(
        count: Count,
        style: Style,
        plant: Option<Bug>,
    ) -> Result<Self, String> {
        let service = Service::new(count.database.url(""), &count.endpoints);
        let service = service.start(&count.record, "service").await?;
        let begun = Self::begin_without_service(count, style, plant).await?;
        Ok(Self { service: Some(service), ..begun })
    }

    /// Starts producers. Whoever handles must have subscribed.
    pub(crate) async fn begin_without_service(
        count: Count,
        style: Style,
        plant: Option<Bug>,
    ) -> Result<Self, String> {
        let connected = planted::connect(&count.database.url(""), plant).await;
        let connected = connected.map_err(|error| error.to_string())?;
        let load = Load::start(connected, &count.record, &style).await?;
        Ok(Self { load, service: None, count, style })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.count.database
    }

    /// Stops the producers, and waits until everything was handled.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.load.stop().await?;
        // Whatever is there twice stands before it.
        self.load.last_words(&self.count.record, &self.style).await?;
        self.count.wait_until_handled().await
    }

    /// Stops the service, and judges.
    pub(crate) async fn close(self) -> Result<Outcome, String> {
        let answers = self.load.close().await?;
        if let Some(service) = self.service {
            drain(&service).await?;
        }
        self.count.outcome(Some(answers)).await
    }
}

impl Count {
    /// Waits until everything that was confirmed was handled or is dead, and nothing is left over.
    pub(crate) async fn wait_until_handled(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let (waiting, claimed) = left(&self.database).await?;
            let Verdict { lost, faults, .. } = self.verdict().await?;
            match (waiting, claimed) {
                _ if !faults.is_empty() => return Err(list(faults)),
                (0, 0) if lost.is_empty() => return Ok(()),
                // It was nowhere before it was looked for among the effects.
                (0, 0) => return Err(list(lost)),
                _ if Instant::now() >= deadline => {
                    return Err(format!(
                        "after {:?} {waiting} messages wait, and there are {claimed} claims",
                        self.patience
                    ));
                }
                _ => {}
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    /// The count of everything, when nobody is at work any more.
    pub(crate) async fn outcome(&self, answers: Option<Answers>) -> Result<Outcome, String> {
        let mut verdict = self.verdict().await?;
        let (waiting, claimed) = left(&self.database).await?;
        if (waiting, claimed) != (0, 0) {
            verdict.faults.push(format!("{waiting} messages and {claimed} claims are left"));
        }
        let faults: Vec<String> = verdict.lost.drain(..).chain(verdict.faults.drain(..)).collect();
        if faults.is_empty() { Ok(Outcome { verdict, answers }) } else { Err(list(faults)) }
    }

    async fn verdict(&self) -> Result<Verdict, String> {
        let mut verdict = judge(&evidence(&self.record, &self.database, &self.endpoints).await?);
        if self.endpoints.contains(&ORDERED) {
            verdict.faults.extend(disorder(&self.database, ORDERED).await?);
        }
        Ok(verdict)
    }
}
