//! The contract of transports, kept by a file.

use crate::deliver::receiver::SqliteReceiver;
use crate::deliver::settle;
use crate::queue::declare;
use crate::queue::parcel::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use crate::queue::temporary;
use crate::sender::SqliteSender;
use crate::sqlite::Sqlite;
use crate::writer::{Plan, Work, WriteError};
use std::time::Duration;
use tramline_core::capabilities::{
    Capabilities, Delay, DeliveryCount, FilterSupport, LengthLimit, Ordering, Support,
    TemporaryQueues,
};
use tramline_core::clock::Deadline;
use tramline_core::health::Health;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::Operate;
use tramline_core::store::DatabaseId;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};
use tramline_core::{Error, ErrorKind, Result};

impl Transport for Sqlite {
    type Sender = SqliteSender;
    type Receiver = SqliteReceiver;

    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn capabilities(&self, _queue: &QueueSpec) -> Capabilities {
        let (native, no) = (Support::Native, Support::No);
        Capabilities {
            ordering: Ordering::PerQueue,
            key_lock: native,
            delay: Some(Delay { resolution: Duration::from_millis(2), max: None }),
            delayed_retry: native,
            cancel_scheduled: no,
            dead_letter: native,
            deliveries: DeliveryCount::Unheard,
            expiry: native,
            filters: FilterSupport::NATIVE,
            priority: native,
            length_max: LengthLimit::Whole,
            dedup: native,
            unique: native,
            keep_completed: native,
            keep_dead: native,
            shared_transaction: native,
            random_access: native,
            peek: native,
            temporary_queues: TemporaryQueues::ByName,
            body_bytes_max: Some(BODY_BYTES_MAX),
            header_bytes_max: Some(HEADER_BYTES_MAX),
            hold_max: None,
        }
    }

    fn database(&self) -> Option<DatabaseId> {
        Some(self.core.shared.database.clone())
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.refuse_when_closed()?;
        declare::check(topology)?;
        // Before it is written: what a cancelled call leaves behind goes with the session, too.
        self.session.declared(topology);
        let topology = topology.clone();
        let rows = topology.queues.len() + topology.subscriptions.len();
        let write = move |work: &Work<'_>| declare::declare(work, &topology);
        self.core.write(Plan::durable(rows), write).await.map_err(WriteError::into_error)?
    }

    async fn sender(&self) -> Result<SqliteSender> {
        self.refuse_when_closed()?;
        Ok(SqliteSender { core: self.core.clone(), session: self.session.clone() })
    }

    async fn receiver(&self, source: &Source) -> Result<SqliteReceiver> {
        self.refuse_when_closed()?;
        let name = source.queue.name().clone();
        let doing = format!("receive from queue {}", source.queue);
        let told = doing.clone();
        let consume = move |work: &Work<'_>| match work.routes().queue(name.as_str()) {
            Some(queue) if !queue.is_known => Err(queue.unknown(told.clone())),
            Some(queue) => work.consume(queue.id).map(|()| Some(queue.id)),
            None => Ok(None),
        };
        let queue = self.core.write(Plan::passing(1), consume).await;
        let Some(queue) = queue.map_err(WriteError::into_error)? else {
            let error = Error::new(ErrorKind::NotFound, doing);
            return Err(error.because("no such queue was declared"));
        };
        let dead = matches!(source.queue, QueueRef::Dead(_));
        let (core, session) = (self.core.clone(), self.session.clone());
        Ok(SqliteReceiver::new(core, session, queue, dead, source))
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        let routes = self.core.shared.routes.read();
        let is_there = routes.queue(queue.as_str()).is_some();
        (is_there && self.session.has_declared(queue)).then(|| queue.to_string())
    }

    fn health(&self) -> Health {
        if self.session.is_closed() { Health::Closed } else { Health::Connected }
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }

    /// Ends the senders and receivers that came from this opening of the file and gives back what
    /// they hold; temporary queues are removed. A store on the same file goes on.
    async fn close(&self, deadline: Deadline) -> Result<()> {
        let tokens = self.session.close();
        let queues = self.session.forget_temporary();
        let give_back = move |work: &Work<'_>| {
            tokens.iter().try_for_each(|token| settle::give_back_all(work, *token))?;
            temporary::remove_all(work, &queues)
        };
        let clock = &self.core.shared.settings.clock;
        tokio::select! {
            biased;
            // Behind everything that was handed to the writer before.
            done = self.core.write(Plan::passing(1).kept(), give_back) => {
                done.map_err(WriteError::into_error)
            }
            () = clock.sleep_until(deadline.0) => {
                let doing = format!("close {}", self.core.shared.path.display());
                Err(Error::new(ErrorKind::TimedOut, doing))
            }
        }
    }
}

impl Sqlite {
    fn refuse_when_closed(&self) -> Result<()> {
        if self.session.is_closed() { Err(self.core.shared.closed()) } else { Ok(()) }
    }
}
