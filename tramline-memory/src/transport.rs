//! The transport's contract.

use crate::memory::Memory;
use crate::queue::Eviction;
use crate::receiver::MemoryReceiver;
use crate::sender::MemorySender;
use std::time::Duration;
use tramline_core::capabilities::{
    Capabilities, Delay, DeliveryCount, FilterSupport, LengthLimit, Ordering, Support,
};
use tramline_core::clock::Deadline;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::store::DatabaseId;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};
use tramline_core::{Error, ErrorKind, Result};

impl Transport for Memory {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self, _queue: &QueueSpec) -> Capabilities {
        Capabilities {
            ordering: Ordering::PerQueue,
            key_lock: self.shared.options.key_lock,
            delay: Some(Delay { resolution: Duration::from_micros(1), max: None }),
            delayed_retry: self.shared.options.delayed_retry,
            cancel_scheduled: Support::No,
            dead_letter: self.shared.options.dead_letter,
            deliveries: DeliveryCount::Unheard,
            expiry: self.shared.options.dead_letter,
            filters: FilterSupport::NATIVE,
            priority: Support::Native,
            length_max: LengthLimit::Whole,
            dedup: Support::Native,
            unique: Support::Native,
            keep_completed: Support::Native,
            keep_dead: Support::Native,
            shared_transaction: Support::Native,
            random_access: Support::Native,
            peek: Support::Native,
            temporary_queues: self.shared.options.temporary_queues,
            body_bytes_max: None,
            header_bytes_max: None,
            hold_max: None,
        }
    }

    fn database(&self) -> Option<DatabaseId> {
        Some(self.shared.database.clone())
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        let has_temporary = self.shared.options.temporary_queues.is_offered();
        if !has_temporary && let Some(spec) = topology.queues.iter().find(|spec| spec.temporary) {
            let doing = format!("declare queue {}: capability `temporary_queues`", spec.name);
            return Err(Error::new(ErrorKind::Unsupported, doing).because("memory has none"));
        }
        self.shared.declare(|routes, state| routes.declare(topology, state, self.handle))
    }

    async fn sender(&self) -> Result<MemorySender> {
        Ok(MemorySender::new(self))
    }

    async fn receiver(&self, source: &Source) -> Result<MemoryReceiver> {
        MemoryReceiver::new(self, source)
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        self.shared.routes().temporary(queue).map(|_| queue.to_string())
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }

    /// Gives back what was taken through this handle, and removes its temporary queues. Other handles are left
    /// as they are, and there is no connection to end: the broker goes with its last handle.
    async fn close(&self, _deadline: Deadline) -> Result<()> {
        self.shared.change(|state| state.evict_from_all(self.handle, Eviction::GivenBack));
        self.shared.declare(|routes, state| routes.leave(self.handle, state));
        Ok(())
    }
}
