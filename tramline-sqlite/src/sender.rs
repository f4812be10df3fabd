//! Sends: rows in queues, one commit for many callers.

use crate::open::core::Core;
use crate::open::session::Session;
use crate::queue::parcel::Parcel;
use crate::queue::place::{Placed, full, place};
use crate::writer::{Plan, Work, WriteError};
use std::sync::Arc;
use tramline_core::clock::Deadline;
use tramline_core::transport::{Outgoing, Sender, Sent};
use tramline_core::{Error, ErrorKind, Result};

use crate::error::failed;

/// Sends to the queues of a file. What is accepted is as durable as the file was opened for.
///
/// A batch is written as a whole: when the answer is an error of the file, none of it was sent.
pub struct SqliteSender {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
}

impl Sender for SqliteSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        if self.session.is_closed() {
            return batch.iter().map(|_| Sent::Refused(self.core.shared.closed())).collect();
        }
        let routes = self.core.shared.routes.read().clone();
        let mut answers: Vec<Option<Sent>> = Vec::with_capacity(batch.len());
        let mut parcels = Vec::with_capacity(batch.len());
        for outgoing in batch {
            match Parcel::pack(outgoing) {
                Ok(parcel) => {
                    let legs = routes.legs(&parcel.to, &parcel.envelope);
                    parcels.push((parcel, (routes.version, legs)));
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Sent::Refused(error))),
            }
        }
        if parcels.is_empty() {
            return answers.into_iter().flatten().collect();
        }
        let write = move |work: &Work<'_>| {
            let placed =
                parcels.iter().map(|(parcel, routed)| place(work, parcel, Some(routed), 0));
            let placed: rusqlite::Result<Vec<Placed>> = placed.collect();
            placed.map_err(|error| failed("send", error))
        };
        let clock = &self.core.shared.settings.clock;
        let written = tokio::select! {
            biased;
            written = self.core.write(Plan::durable(batch.len()), write) => written,
            () = clock.sleep_until(deadline.0) => Err(WriteError::Unknown(Error::new(
                ErrorKind::TimedOut,
                format!("send to {}", self.core.shared.path.display()),
            ))),
        };
        answer(batch, answers, written)
    }
}

/// One answer for each message: those that are there already, and for the others what was written.
fn answer(
    batch: &[Outgoing],
    answers: Vec<Option<Sent>>,
    written: Result<Vec<Placed>, WriteError>,
) -> Vec<Sent> {
    let mut placed = written.as_ref().map_or(&[][..], Vec::as_slice).iter();
    let mut one = |outgoing: &Outgoing| match (placed.next(), &written) {
        (Some(Placed::In(queues)), _) => Sent::Accepted { routed: Some(*queues > 0) },
        (Some(Placed::NoSuchQueue), _) => {
            let doing = format!("send to {}", outgoing.to);
            let error = Error::new(ErrorKind::NotFound, doing);
            Sent::Refused(error.because("no such queue was declared"))
        }
        (Some(Placed::Unknown(queue)), _) => {
            Sent::Refused(queue.unknown(format!("send to {}", outgoing.to)))
        }
        (Some(Placed::Full(queue)), _) => Sent::Refused(full(&outgoing.to, queue)),
        (None, Err(WriteError::Unknown(error))) => Sent::Unknown(copy(error)),
        (None, Err(WriteError::Failed(error))) => Sent::Refused(copy(error)),
        (None, Ok(_)) => Sent::Unknown(Error::new(ErrorKind::Corrupt, "send")),
    };
    let each = batch.iter().zip(answers);
    each.map(|(outgoing, answer)| answer.unwrap_or_else(|| one(outgoing))).collect()
}

/// The same error for another message of the batch.
fn copy(error: &Error) -> Error {
    Error::new(error.kind(), "send a batch").because(error.to_string())
}
