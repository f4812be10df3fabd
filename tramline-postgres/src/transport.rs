//! The contract of transports, kept by a database.

use crate::capabilities::capabilities;
use crate::deliver::PostgresReceiver;
use crate::link::{Down, Line};
use crate::postgres::Postgres;
use crate::queue::declare;
use crate::send::PostgresSender;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::Deadline;
use tramline_core::health::Health;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::store::DatabaseId;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};
use tramline_core::{Error, ErrorKind, Result};

impl Transport for Postgres {
    type Sender = PostgresSender;
    type Receiver = PostgresReceiver;

    fn name(&self) -> &'static str {
        "postgres"
    }

    fn capabilities(&self, _queue: &QueueSpec) -> Capabilities {
        capabilities()
    }

    fn database(&self) -> Option<DatabaseId> {
        Some(self.core.database.clone())
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.refuse_when_closed()?;
        let line = Line::new(self.core.target.clone(), "declare", &self.core.settings);
        let connected = line.try_connected().await?;
        // Before it is written: what a cancelled call leaves behind goes with the session, too.
        self.session.declared(topology);
        declare(&connected, topology, &self.core).await?;
        self.core.reload(&connected).await?;
        if topology.queues.iter().any(|spec| spec.temporary) {
            self.core.temporary.declared(topology, &self.core);
            // Nothing else says that this process lives until it takes something.
            self.core.attend();
        }
        Ok(())
    }

    async fn sender(&self) -> Result<PostgresSender> {
        self.refuse_when_closed()?;
        Ok(PostgresSender { core: self.core.clone(), session: self.session.clone() })
    }

    async fn receiver(&self, source: &Source) -> Result<PostgresReceiver> {
        self.refuse_when_closed()?;
        let name = source.queue.name();
        let doing = || format!("receive from queue {}", source.queue);
        let mut queue = self.core.routes().queue(name.as_str()).cloned();
        if queue.is_none() {
            let connected = self.core.operating.connected().await?;
            queue = self.core.reload(&connected).await?.queue(name.as_str()).cloned();
        }
        let Some(queue) = queue else {
            let error = Error::new(ErrorKind::NotFound, doing());
            return Err(error.because("no such queue was declared"));
        };
        if !queue.is_known {
            return Err(queue.unknown(doing()));
        }
        self.core.attend();
        let (core, session) = (self.core.clone(), self.session.clone());
        Ok(PostgresReceiver::new(core, session, queue.id, &queue.spec, source))
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        let is_there = self.core.routes().queue(queue.as_str()).is_some();
        (is_there && self.session.has_declared(queue)).then(|| queue.to_string())
    }

    fn health(&self) -> Health {
        if self.session.is_closed() {
            return Health::Closed;
        }
        match self.core.down() {
            Some(Down { since, why }) => Health::Reconnecting { since, error: why },
            None => Health::Connected,
        }
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }

    /// Ends the senders and receivers that came from this opening of the database and gives back what
    /// they hold; temporary queues are removed. A store on the same database goes on.
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.session.close();
        let queues = self.session.forget_temporary();
        let given_back = async {
            self.core.give_back_all(&self.session).await;
            self.core.temporary.forget(&queues);
            self.core.remove_temporary(&queues).await
        };
        tokio::select! {
            biased;
            removed = given_back => removed,
            () = self.core.settings.clock.sleep_until(deadline.0) => {
                let doing = format!("close {}", self.core.target);
                Err(Error::new(ErrorKind::TimedOut, doing))
            }
        }
    }
}

impl Postgres {
    fn refuse_when_closed(&self) -> Result<()> {
        if self.session.is_closed() { Err(self.core.closed()) } else { Ok(()) }
    }
}
