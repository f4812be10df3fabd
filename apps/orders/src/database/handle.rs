//! A handle on the tables, whichever database they are in.

use super::broker::Broker;
use super::{Due, Effects, KillRecord, KnownOrder, Tally, postgres, sqlite};
use tramline::Failure;
use tramline::core::clock::Timestamp;
use tramline::core::store::Store;

/// The business tables. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    opened: Opened,
    /// Where the orders go, once that is known.
    broker: Option<Broker>,
}

/// The tables in one of the databases.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

/// Asks the tables, wherever they are.
macro_rules! ask {
    ($database:expr, $tables:ident => $asked:expr) => {
        match &$database.opened {
            Opened::Sqlite($tables) => $asked,
            Opened::Postgres($tables) => $asked,
        }
    };
}

impl Database {
    /// Opens what `url` names and makes the tables that are not there.
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let opened = if url.starts_with("postgres") {
            Opened::Postgres(postgres::Database::open(url).await?)
        } else {
            Opened::Sqlite(sqlite::Database::open(url).await?)
        };
        Ok(Self { opened, broker: None })
    }

    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// These tables, with the broker that their orders go through, once and for all: what waits in
    /// one broker is not known to another, and what one has handled another would handle again.
    /// Answers the name of the broker that they are bound to, if it is a different one.
    pub(crate) async fn bind(mut self, broker: &str) -> Result<Result<Self, String>, Failure> {
        let here = ask!(self, tables => tables.store().database());
        let broker = Broker::open(broker, &here).await?;
        let bound = ask!(self, tables => tables.bind(broker.name()).await?);
        if bound != broker.name() {
            return Ok(Err(bound));
        }
        self.broker = Some(broker);
        Ok(Ok(self))
    }

    /// What the databases of tables and broker have counted.
    pub(crate) async fn tally(&self) -> Result<Tally, Failure> {
        let here = ask!(self, tables => Tally::from(tables.store().tally().await?));
        let there = match &self.broker {
            Some(broker) => broker.tally().await?,
            None => Tally::default(),
        };
        Ok(Tally {
            redelivered: here.redelivered + there.redelivered,
            duplicates: here.duplicates + there.duplicates,
        })
    }

    /// How many events wait for their way to the bus.
    pub(crate) async fn outbox_depth(&self) -> Result<u64, Failure> {
        ask!(self, tables => tables.outbox_depth().await)
    }

    /// The order with this id, if it was placed.
    pub(crate) async fn find(&self, order_id: i64) -> Result<Option<KnownOrder>, Failure> {
        ask!(self, tables => tables.find(order_id).await)
    }

    /// Every order that was placed.
    pub(crate) async fn orders(&self) -> Result<Vec<KnownOrder>, Failure> {
        ask!(self, tables => tables.orders().await)
    }

    /// How many units are in stock.
    pub(crate) async fn units_left(&self) -> Result<i64, Failure> {
        ask!(self, tables => tables.units_left().await)
    }

    /// What is still to come of the orders that were placed.
    pub(crate) async fn due(&self) -> Result<Due, Failure> {
        ask!(self, tables => tables.due().await)
    }

    /// All figures, as they were at one moment.
    pub(crate) async fn effects(&self) -> Result<Effects, Failure> {
        ask!(self, tables => tables.effects().await)
    }

    /// How many mails have been written: how far the run is, at little cost.
    pub(crate) async fn mails_written(&self) -> Result<u64, Failure> {
        ask!(self, tables => tables.mails_written().await)
    }

    /// A new run. Answers its number.
    pub(crate) async fn begin_run(&self, now: Timestamp) -> Result<i64, Failure> {
        ask!(self, tables => tables.begin_run(now).await)
    }

    /// The run was still at work at `now`.
    pub(crate) async fn see_run(&self, run: i64, now: Timestamp) -> Result<(), Failure> {
        ask!(self, tables => tables.see_run(run, now).await)
    }

    pub(crate) async fn record_kill(&self, kill: KillRecord) -> Result<(), Failure> {
        ask!(self, tables => tables.record_kill(kill).await)
    }
}
