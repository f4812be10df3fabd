//! A message on its way through the pipeline.

use crate::MessageId;
use std::sync::Arc;
use tramline_core::envelope::Envelope;
use tramline_core::store::Sighting;
use tramline_core::transport::Ticket;

/// One message of a context.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) id: MessageId,
    /// All failures so far: those recorded and those of this delivery.
    pub(crate) failures: u32,
    pub(crate) ticket: Option<Ticket>,
    /// Set when the transaction must write an inbox row.
    pub(crate) sighting: Option<Sighting>,
}
