//! Contracts as objects, so that the same engine code runs for a driver chosen by URL.
//!
//! Each `Dyn…` trait is implemented by every implementor of the contract that it is named after,
//! and its box implements that contract again.

use crate::capabilities::Capabilities;
use crate::clock::{Deadline, Timestamp};
use crate::compose::Scope;
use crate::dead::FailureNote;
use crate::envelope::Envelope;
use crate::health::Health;
use crate::name::QueueName;
use crate::operate::Operate;
use crate::settlement::{Marks, Settled, Settlement};
use crate::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, Refusal, Schedules, Sighting, Store,
};
use crate::topology::{QueueSpec, Topology};
use crate::transport::{Delivery, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport};
use crate::{BoxFuture, Error, ErrorKind, Failure, Result};
use std::{
    any::{Any, TypeId},
    sync::Arc,
};

/// A transport as an object.
pub trait DynTransport: Send + Sync + 'static {
    /// [`Transport::name`].
    fn name_dyn(&self) -> &'static str;
    /// [`Transport::capabilities`].
    fn capabilities_dyn(&self, queue: &QueueSpec) -> Capabilities;
    /// [`Transport::database`].
    fn database_dyn(&self) -> Option<DatabaseId>;
    /// [`Transport::declare`].
    fn declare_dyn<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<()>>;
    /// [`Transport::sender`].
    fn sender_dyn(&self) -> BoxFuture<'_, Result<Box<dyn DynSender>>>;
    /// [`Transport::receiver`].
    fn receiver_dyn<'a>(
        &'a self,
        source: &'a Source,
    ) -> BoxFuture<'a, Result<Box<dyn DynReceiver>>>;
    /// [`Transport::address`].
    fn address_dyn(&self, queue: &QueueName) -> Option<String>;
    /// [`Transport::health`].
    fn health_dyn(&self) -> Health;
    /// [`Transport::operate`].
    fn operate_dyn(&self) -> Option<&dyn Operate>;
    /// [`Transport::close`].
    fn close_dyn(&self, deadline: Deadline) -> BoxFuture<'_, Result<()>>;
}

impl<T: Transport> DynTransport for T {
    fn name_dyn(&self) -> &'static str {
        self.name()
    }
    fn capabilities_dyn(&self, queue: &QueueSpec) -> Capabilities {
        self.capabilities(queue)
    }
    fn database_dyn(&self) -> Option<DatabaseId> {
        self.database()
    }
    fn declare_dyn<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.declare(topology))
    }
    fn sender_dyn(&self) -> BoxFuture<'_, Result<Box<dyn DynSender>>> {
        Box::pin(async { Ok(Box::new(self.sender().await?) as Box<dyn DynSender>) })
    }
    fn receiver_dyn<'a>(
        &'a self,
        source: &'a Source,
    ) -> BoxFuture<'a, Result<Box<dyn DynReceiver>>> {
        Box::pin(async { Ok(Box::new(self.receiver(source).await?) as Box<dyn DynReceiver>) })
    }
    fn address_dyn(&self, queue: &QueueName) -> Option<String> {
        self.address(queue)
    }
    fn health_dyn(&self) -> Health {
        self.health()
    }
    fn operate_dyn(&self) -> Option<&dyn Operate> {
        self.operate()
    }
    fn close_dyn(&self, deadline: Deadline) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.close(deadline))
    }
}

impl Transport for Box<dyn DynTransport> {
    type Sender = Box<dyn DynSender>;
    type Receiver = Box<dyn DynReceiver>;

    fn name(&self) -> &'static str {
        (**self).name_dyn()
    }
    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        (**self).capabilities_dyn(queue)
    }
    fn database(&self) -> Option<DatabaseId> {
        (**self).database_dyn()
    }
    async fn declare(&self, topology: &Topology) -> Result<()> {
        (**self).declare_dyn(topology).await
    }
    async fn sender(&self) -> Result<Self::Sender> {
        (**self).sender_dyn().await
    }
    async fn receiver(&self, source: &Source) -> Result<Self::Receiver> {
        (**self).receiver_dyn(source).await
    }
    fn address(&self, queue: &QueueName) -> Option<String> {
        (**self).address_dyn(queue)
    }
    fn health(&self) -> Health {
        (**self).health_dyn()
    }
    fn operate(&self) -> Option<&dyn Operate> {
        (**self).operate_dyn()
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        (**self).close_dyn(deadline).await
    }
}

/// A sender as an object.
pub trait DynSender: Send + Sync + 'static {
    /// [`Sender::send`].
    fn send_dyn<'a>(
        &'a self,
        batch: &'a [Outgoing],
        deadline: Deadline,
    ) -> BoxFuture<'a, Vec<Sent>>;
}

impl<S: Sender> DynSender for S {
    fn send_dyn<'a>(
        &'a self,
        batch: &'a [Outgoing],
        deadline: Deadline,
    ) -> BoxFuture<'a, Vec<Sent>> {
        Box::pin(self.send(batch, deadline))
    }
}

impl Sender for Box<dyn DynSender> {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        (**self).send_dyn(batch, deadline).await
    }
}

/// A receiver as an object.
pub trait DynReceiver: Send + 'static {
    /// [`Receiver::next`].
    fn next_dyn(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn DynDelivery>>>>;
    /// [`Receiver::stop`].
    fn stop_dyn(&mut self) -> BoxFuture<'_, Result<()>>;
}

impl<R: Receiver> DynReceiver for R {
    fn next_dyn(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn DynDelivery>>>> {
        Box::pin(async {
            Ok(self.next().await?.map(|delivery| Box::new(delivery) as Box<dyn DynDelivery>))
        })
    }
    fn stop_dyn(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.stop())
    }
}

impl Receiver for Box<dyn DynReceiver> {
    type Delivery = Box<dyn DynDelivery>;

    async fn next(&mut self) -> Result<Option<Self::Delivery>> {
        (**self).next_dyn().await
    }
    async fn stop(&mut self) -> Result<()> {
        (**self).stop_dyn().await
    }
}

/// A delivery as an object.
pub trait DynDelivery: Send + Sync + 'static {
    /// [`Delivery::envelope`].
    fn envelope_dyn(&self) -> &Arc<Envelope>;
    /// [`Delivery::failures`].
    fn failures_dyn(&self) -> u32;
    /// [`Delivery::deliveries`].
    fn deliveries_dyn(&self) -> Option<u32>;
    /// [`Delivery::history`].
    fn history_dyn(&self) -> &[FailureNote];
    /// [`Delivery::marks`].
    fn marks_dyn(&self) -> Marks;
    /// [`Delivery::ticket`].
    fn ticket_dyn(&self) -> Option<Ticket>;
    /// [`Delivery::mark_trial`].
    fn mark_trial_dyn(&mut self) -> BoxFuture<'_, Result<()>>;
    /// [`Delivery::lost`].
    fn lost_dyn<'a>(&'a self) -> BoxFuture<'a, ()>;
    /// [`Delivery::settle`].
    fn settle_dyn(self: Box<Self>, how: Settlement) -> BoxFuture<'static, Result<Settled>>;
    /// [`Delivery::settled_by_store`].
    fn settled_by_store_dyn(self: Box<Self>);
}

impl<D: Delivery> DynDelivery for D {
    fn envelope_dyn(&self) -> &Arc<Envelope> {
        self.envelope()
    }
    fn failures_dyn(&self) -> u32 {
        self.failures()
    }
    fn deliveries_dyn(&self) -> Option<u32> {
        self.deliveries()
    }
    fn history_dyn(&self) -> &[FailureNote] {
        self.history()
    }
    fn marks_dyn(&self) -> Marks {
        self.marks()
    }
    fn ticket_dyn(&self) -> Option<Ticket> {
        self.ticket()
    }
    fn mark_trial_dyn(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.mark_trial())
    }
    fn lost_dyn<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(self.lost())
    }
    fn settle_dyn(self: Box<Self>, how: Settlement) -> BoxFuture<'static, Result<Settled>> {
        Box::pin((*self).settle(how))
    }
    fn settled_by_store_dyn(self: Box<Self>) {
        (*self).settled_by_store();
    }
}

impl Delivery for Box<dyn DynDelivery> {
    fn envelope(&self) -> &Arc<Envelope> {
        (**self).envelope_dyn()
    }
    fn failures(&self) -> u32 {
        (**self).failures_dyn()
    }
    fn deliveries(&self) -> Option<u32> {
        (**self).deliveries_dyn()
    }
    fn history(&self) -> &[FailureNote] {
        (**self).history_dyn()
    }
    fn marks(&self) -> Marks {
        (**self).marks_dyn()
    }
    fn ticket(&self) -> Option<Ticket> {
        (**self).ticket_dyn()
    }
    async fn mark_trial(&mut self) -> Result<()> {
        (**self).mark_trial_dyn().await
    }
    fn lost(&self) -> impl Future<Output = ()> + Send {
        (**self).lost_dyn()
    }
    async fn settle(self, how: Settlement) -> Result<Settled> {
        self.settle_dyn(how).await
    }
    fn settled_by_store(self) {
        self.settled_by_store_dyn();
    }
}

/// An open transaction of whichever store.
pub type DynTx = Box<dyn Any + Send>;

/// A store as an object.
pub trait DynStore: Send + Sync + 'static {
    /// The type of its transactions: which `Tx<S>` a handler may ask for.
    fn tx_type(&self) -> TypeId;
    /// [`Store::database`].
    fn database_dyn(&self) -> DatabaseId;
    /// [`Store::begin`].
    fn begin_dyn(&self, scope: Scope) -> BoxFuture<'_, Result<DynTx>>;
    /// [`Store::commit`]. A transaction of another store is refused.
    fn commit_dyn(
        &self,
        tx: DynTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> BoxFuture<'_, Result<Committed, CommitError>>;
    /// [`Store::admitted`].
    fn admitted_dyn<'a>(
        &'a self,
        sightings: &'a [Sighting],
    ) -> BoxFuture<'a, Result<Vec<Option<Refusal>>>>;
    /// [`Store::prune_inbox`].
    fn prune_inbox_dyn<'a>(
        &'a self,
        endpoint: &'a str,
        before: Timestamp,
        limit: u32,
    ) -> BoxFuture<'a, Result<u64>>;
    /// [`Store::outbox`].
    fn outbox_dyn(&self) -> &dyn Outbox;
    /// [`Store::schedules`].
    fn schedules_dyn(&self) -> Option<&dyn Schedules>;
    /// [`Store::is_away`].
    fn is_away_dyn(&self, failure: &Failure) -> bool;
}

impl<S: Store> DynStore for S {
    fn tx_type(&self) -> TypeId {
        TypeId::of::<S::Tx>()
    }
    fn database_dyn(&self) -> DatabaseId {
        self.database()
    }
    fn begin_dyn(&self, scope: Scope) -> BoxFuture<'_, Result<DynTx>> {
        Box::pin(async { Ok(Box::new(self.begin(scope).await?) as DynTx) })
    }
    fn commit_dyn(
        &self,
        tx: DynTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> BoxFuture<'_, Result<Committed, CommitError>> {
        match tx.downcast::<S::Tx>() {
            Ok(tx) => Box::pin(self.commit(*tx, conditions, buffered)),
            Err(_) => {
                let doing = format!("commit to {}: not its transaction", self.database());
                let error = Error::new(ErrorKind::Misconfigured, doing);
                Box::pin(std::future::ready(Err(CommitError::Store(error))))
            }
        }
    }
    fn admitted_dyn<'a>(
        &'a self,
        sightings: &'a [Sighting],
    ) -> BoxFuture<'a, Result<Vec<Option<Refusal>>>> {
        Box::pin(self.admitted(sightings))
    }
    fn prune_inbox_dyn<'a>(
        &'a self,
        endpoint: &'a str,
        before: Timestamp,
        limit: u32,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.prune_inbox(endpoint, before, limit))
    }
    fn outbox_dyn(&self) -> &dyn Outbox {
        self.outbox()
    }
    fn schedules_dyn(&self) -> Option<&dyn Schedules> {
        self.schedules()
    }
    fn is_away_dyn(&self, failure: &Failure) -> bool {
        self.is_away(failure)
    }
}
