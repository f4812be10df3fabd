//! What a unit of work publishes, ready to be written.

use crate::queue::{Parcel, refuse_what_cannot_be_kept};
use tramline_core::clock::Timestamp;
use tramline_core::compose::{Publishing, Scope};
use tramline_core::rows::{write_destination, write_envelope};
use tramline_core::transport::Outgoing;
use tramline_core::{Failure, Result};

/// Messages in their order.
pub(super) enum Messages {
    /// For queues of this database.
    Queues(Vec<Parcel>),
    /// For a relay.
    Outbox(Vec<Written>),
}

/// A message as it stands in the outbox.
pub(super) struct Written {
    outgoing: Outgoing,
    destination: String,
    envelope: String,
}

/// The columns of rows for the outbox.
#[derive(Default)]
pub(super) struct Outward<'m> {
    pub(super) keys: Vec<Option<&'m str>>,
    /// A message with a due time is held until then, so that brokers without delays can have it too; it
    /// holds nothing else of its key back.
    pub(super) dues: Vec<Option<i64>>,
    pub(super) destinations: Vec<&'m str>,
    pub(super) envelopes: Vec<&'m str>,
    pub(super) bodies: Vec<&'m [u8]>,
}

impl Messages {
    /// Gives ids to those without one, by their order, and encodes all.
    ///
    /// # Errors
    /// A permanent failure: one cannot be written down. What is refused now is refused again.
    pub(super) fn of(
        scope: &Scope,
        outgoing: impl IntoIterator<Item = Outgoing>,
    ) -> Result<Self, Failure> {
        let mut ordinal = 0;
        let numbered = outgoing.into_iter().map(|mut outgoing| {
            scope.number(&mut outgoing, &mut ordinal);
            outgoing
        });
        Ok(match scope.publishing {
            Publishing::Queues => {
                let parcels: Result<_> = numbered.map(|one| Parcel::pack(&one)).collect();
                Self::Queues(parcels.map_err(Failure::permanent)?)
            }
            Publishing::Outbox => {
                let written: Result<_> = numbered.map(Written::of).collect();
                Self::Outbox(written.map_err(Failure::permanent)?)
            }
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Queues(parcels) => parcels.is_empty(),
            Self::Outbox(written) => written.is_empty(),
        }
    }

    pub(super) fn is_for_outbox(&self) -> bool {
        matches!(self, Self::Outbox(written) if !written.is_empty())
    }

    /// How large they are, give or take what is beside the bodies.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Queues(parcels) => parcels.iter().map(|parcel| parcel.envelope.body.len()).sum(),
            Self::Outbox(written) => {
                written.iter().map(|one| one.outgoing.envelope.body.len()).sum()
            }
        }
    }

    pub(super) fn for_queues(&self) -> &[Parcel] {
        match self {
            Self::Queues(parcels) => parcels,
            Self::Outbox(_) => &[],
        }
    }

    pub(super) fn for_outbox(&self) -> Outward<'_> {
        let mut columns = Outward::default();
        self.append_to(&mut columns);
        columns
    }

    /// Adds those for the outbox to the rows of others.
    pub(super) fn append_to<'m>(&'m self, columns: &mut Outward<'m>) {
        if let Self::Outbox(written) = self {
            written.iter().for_each(|one| columns.add(one));
        }
    }
}

impl Written {
    fn of(outgoing: Outgoing) -> Result<Self> {
        let Outgoing { to, envelope, .. } = &outgoing;
        refuse_what_cannot_be_kept(to, envelope)?;
        let (destination, envelope) = (write_destination(to)?, write_envelope(envelope)?);
        Ok(Self { outgoing, destination, envelope })
    }
}

impl<'m> Outward<'m> {
    fn add(&mut self, written: &'m Written) {
        let Written { outgoing, destination, envelope } = written;
        self.keys.push(outgoing.envelope.key.as_deref());
        self.dues.push(outgoing.due.map(Timestamp::as_micros));
        self.destinations.push(destination);
        self.envelopes.push(envelope);
        self.bodies.push(&outgoing.envelope.body);
    }
}
