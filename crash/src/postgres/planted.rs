//! Bugs on purpose, to show that a scenario finds them. `crash/tests/postgres.rs` plants each.

use super::database::Database;
use crate::schedules;
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use tramline::core::Result;
use tramline::core::capabilities::Capabilities;
use tramline::core::clock::Deadline;
use tramline::core::erased::DynTransport;
use tramline::core::health::Health;
use tramline::core::name::QueueName;
use tramline::core::operate::Operate;
use tramline::core::topology::{QueueSpec, Topology};
use tramline::core::transport::{Outgoing, Sender, Sent, Source, Transport};
use tramline::postgres::{PostgresReceiver, PostgresSender};
use tramline::{Bus, BusBuilder, Postgres};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bug {
    /// A relay forgets which keys others are at work on
    SharesKeys,
    /// A relay removes what it takes before the broker has it
    RemovesEarly,
    /// A handler writes outside of its transaction
    WritesApart,
    /// Nobody counts how often a message was out when its process died
    ForgetsDeaths,
    /// The server confirms what it has not written to its disk
    ConfirmsEarly,
    /// A message whose sending failed is said to be sent
    SaysYes,
    /// An ordered queue forgets that the head of a key is out
    ForgetsHeads,
    /// Whoever has read a schedule fires what has replaced it meanwhile
    ForgetsTokens,
    /// What has fired sometimes waits on
    FiresAgain,
    /// What was cancelled sometimes waits on
    ForgetsCancellations,
    /// Of what recurs a moment is left out sometimes
    SkipsMoments,
}

impl Bug {
    /// What [`Bug::name`] of one is read from on a command line.
    pub(crate) fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it does to the functions of the database, if it is one of them.
    fn sql(self) -> Option<&'static str> {
        match self {
            Self::SharesKeys => Some(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN NEW.keys := '{}'; RETURN NEW; END $$;
                 CREATE TRIGGER bug BEFORE INSERT ON tramline.relay
                     FOR EACH ROW EXECUTE FUNCTION bug()",
            ),
            // With the commit, so that who takes them has read them.
            Self::RemovesEarly => Some(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN DELETE FROM tramline.outbox WHERE id = ANY (NEW.ids); RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER bug AFTER INSERT ON tramline.relay
                     INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bug()",
            ),
            Self::ForgetsDeaths => Some(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN NEW.deliveries := 0; RETURN NEW; END $$;
                 CREATE TRIGGER bug BEFORE UPDATE ON tramline.message
                     FOR EACH ROW EXECUTE FUNCTION bug()",
            ),
            // The lane is looked at again, so that it does not stop when nothing more is sent to it.
            Self::ForgetsHeads => Some(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN DELETE FROM tramline.lane WHERE queue = NEW.queue AND lane = NEW.lane;
                        INSERT INTO tramline.turn VALUES (NEW.queue, NEW.lane);
                        RETURN NULL; END $$;
                 CREATE TRIGGER bug AFTER INSERT ON tramline.lane
                     FOR EACH ROW EXECUTE FUNCTION bug()",
            ),
            Self::ConfirmsEarly => Some(
                "DO $$ BEGIN EXECUTE format(
                     'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
            ),
            // Nothing else is wrong with it, but that connections end in the middle of it more often.
            Self::SaysYes => Some(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM pg_sleep(0.005); RETURN NULL; END $$;
                 CREATE TRIGGER bug AFTER INSERT ON tramline.message
                     FOR EACH STATEMENT EXECUTE FUNCTION bug()",
            ),
            Self::ForgetsTokens => Some(schedules::Bug::ForgetsTokens.postgres()),
            Self::FiresAgain => Some(schedules::Bug::FiresAgain.postgres()),
            Self::ForgetsCancellations => Some(schedules::Bug::ForgetsCancellations.postgres()),
            Self::SkipsMoments => Some(schedules::Bug::SkipsMoments.postgres()),
            Self::WritesApart => None,
        }
    }
}

/// Plants what is planted in the database itself.
pub(crate) async fn plant(database: &Database, bug: Option<Bug>) -> Result<(), String> {
    if let Some(sql) = bug.and_then(Bug::sql) {
        database.run(sql).await?;
    }
    match bug {
        Some(Bug::ConfirmsEarly) => stop_writing(database).await,
        _ => Ok(()),
    }
}

/// Stops, until the server is started again, who writes what no commit waits for: it would hand each
/// full page of it to the system at once, and what the system has survives the server's death.
async fn stop_writing(database: &Database) -> Result<(), String> {
    const WRITER: &str =
        "SELECT pid::bigint FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let writer = database.count(WRITER).await?;
    let writer = i32::try_from(writer).ok().and_then(Pid::from_raw);
    let writer = writer.ok_or("the writer of the log has no process id")?;
    kill_process(writer, Signal::STOP).map_err(|error| error.to_string())
}

/// A bus on the database at `url`, with this bug planted in what it sends with, or as it is.
pub(crate) async fn connect(url: &str, bug: Option<Bug>) -> Result<BusBuilder> {
    if bug != Some(Bug::SaysYes) {
        return Bus::connect(url).await;
    }
    let planted = Planted(Postgres::connect(url).await?);
    Ok(Bus::builder(Box::new(planted) as Box<dyn DynTransport>))
}

/// A transport that says yes to everything.
struct Planted(Postgres);

impl Transport for Planted {
    type Sender = PlantedSender;
    type Receiver = PostgresReceiver;

    fn name(&self) -> &'static str {
        "planted"
    }
    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        self.0.capabilities(queue)
    }
    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.0.declare(topology).await
    }
    async fn sender(&self) -> Result<PlantedSender> {
        Ok(PlantedSender(Arc::new(self.0.sender().await?)))
    }
    async fn receiver(&self, source: &Source) -> Result<PostgresReceiver> {
        self.0.receiver(source).await
    }
    fn address(&self, queue: &QueueName) -> Option<String> {
        self.0.address(queue)
    }
    fn health(&self) -> Health {
        Transport::health(&self.0)
    }
    fn operate(&self) -> Option<&dyn Operate> {
        self.0.operate()
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.0.close(deadline).await
    }
}

struct PlantedSender(Arc<PostgresSender>);

impl Sender for PlantedSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let sent = self.0.send(batch, deadline).await;
        sent.into_iter().map(|_| Sent::Accepted { routed: Some(true) }).collect()
    }
}
