//! What sends to the queues of a database.

use super::sending::{Fault, Job};
use crate::open::{Core, Session};
use crate::queue::Parcel;
use std::sync::Arc;
use tramline_core::clock::Deadline;
use tramline_core::transport::{Outgoing, Sender, Sent};
use tramline_core::{Error, ErrorKind, Result};

/// Sends to the queues of a database. What is accepted is as durable as the server makes a commit.
///
/// A batch is written as a whole: when the answer is an error of the database, none of it was sent.
pub struct PostgresSender {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
}

impl Sender for PostgresSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        if self.session.is_closed() {
            return batch.iter().map(|_| Sent::Refused(self.core.closed())).collect();
        }
        let packed: Vec<Result<Parcel>> = batch.iter().map(Parcel::pack).collect();
        let mut refused: Vec<Option<Error>> = Vec::with_capacity(batch.len());
        let mut parcels = Vec::with_capacity(batch.len());
        for one in packed {
            match one {
                Ok(parcel) => {
                    parcels.push(parcel);
                    refused.push(None);
                }
                Err(error) => refused.push(Some(error)),
            }
        }
        let (job, answer) = Job::new(parcels);
        let sent = async {
            self.core.sending.submit(&self.core, job).await;
            answer.await
        };
        let placed = tokio::select! {
            biased;
            placed = sent => placed,
            () = self.core.settings.clock.sleep_until(deadline.0) => Err(Fault::Unknown(Error::new(
                ErrorKind::TimedOut,
                format!("send to {}", self.core.target),
            ))),
        };
        let mut placed = placed.map(Vec::into_iter);
        let mut one = |outgoing: &Outgoing| match &mut placed {
            Ok(placed) => match placed.next() {
                Some(placed) => placed.sent(&outgoing.to),
                None => Sent::Unknown(Error::new(ErrorKind::Corrupt, "send")),
            },
            Err(Fault::Refused(error)) => Sent::Refused(error.clone()),
            Err(Fault::Unknown(error)) => Sent::Unknown(error.clone()),
        };
        let each = batch.iter().zip(refused);
        each.map(|(outgoing, refused)| refused.map_or_else(|| one(outgoing), Sent::Refused))
            .collect()
    }
}
