//! Handler's writes, published messages, inbox row and ack in one transaction.

use crate::Failure;
use crate::pipeline::{Context, Disposition, Layer, Loan, Outcome, Step, not_given_back};
use std::fmt;
use std::sync::Arc;
use tramline_core::ErrorKind;
use tramline_core::compose::{Parent, Publishing, Scope};
use tramline_core::erased::DynStore;
use tramline_core::failure::Verdict;
use tramline_core::store::{CommitError, Committed, Condition, Refusal};

/// Opens a transaction for each run and commits it when the handler has succeeded.
pub(crate) struct Transaction {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) publishing: Publishing,
}

impl Layer for Transaction {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        cx.opens = Some((self.store.clone(), self.scope(cx)));
        cx.start_over().await?;
        if let Err(failure) = next.run(cx).await {
            return self.blamed(cx, failure);
        }
        cx.opens = None;
        let loan = cx.tx.take();
        if !cx.item_failures.is_empty() {
            // Nobody can tell whose writes are whose, so none of them is kept. The transaction is over here.
            cx.disposition = Disposition::RolledBack;
        }
        if cx.disposition != Disposition::Open {
            // Whoever runs inside has said that the message comes again: its ack must not be committed.
            cx.end_run();
            return Ok(());
        }
        let Some(tx) = loan.as_ref().and_then(Loan::borrow) else {
            return Err(not_given_back());
        };
        loan.as_ref().map_or(Ok(()), Loan::sound)?;
        let (mut conditions, owners) = self.conditions(cx);
        let acks = conditions.iter().any(|condition| matches!(condition, Condition::Ack(_)));
        let published = cx.buffer.close_with_plans();
        conditions.extend(published.plans.into_iter().map(Condition::Plan));
        match self.store.commit_dyn(tx, conditions, published.messages).await {
            Ok(Committed::Done) => {
                if acks {
                    cx.disposition = Disposition::SettledByStore;
                }
                Ok(())
            }
            Ok(Committed::Refused(refusals)) => {
                cx.disposition = Disposition::Refused(by_message(&refusals, &owners));
                Ok(())
            }
            Err(CommitError::Handler(failure)) => Err(failure),
            // Its disk is full: nobody's message is to blame for that.
            Err(CommitError::Store(error)) if error.kind() == ErrorKind::Full => away(cx, &error),
            Err(CommitError::Store(error)) => self.blamed(cx, Failure::retryable(error)),
            Err(CommitError::Unknown(error)) => {
                tracing::warn!(endpoint = cx.endpoint(), %error, "the answer to a commit was lost");
                cx.disposition = Disposition::Unknown;
                Ok(())
            }
        }
    }
}

impl Transaction {
    /// A message is not charged with a store that is away: it comes back when there may be one.
    fn blamed(&self, cx: &mut Context, failure: Failure) -> Outcome {
        if *failure.verdict() != Verdict::Retry || !self.store.is_away_dyn(&failure) {
            return Err(failure);
        }
        away(cx, &failure)
    }

    /// Items of a batch publish each for themselves, so a batch as a whole has no parent: with
    /// one, a batch of a single message would give the same ids twice.
    fn scope(&self, cx: &Context) -> Scope {
        let parent = (!cx.is_batch()).then(|| Parent {
            id: cx.message.id.clone(),
            envelope: cx.message.envelope.clone(),
            endpoint: cx.surroundings.identity.clone(),
        });
        Scope { parent, ..Scope::outside(cx.surroundings.composer.clone(), self.publishing) }
    }

    /// The conditions, and beside each the index of the message that it is about.
    fn conditions(&self, cx: &Context) -> (Vec<Condition>, Vec<usize>) {
        let database = self.store.database_dyn();
        let mut conditions = Vec::with_capacity(2 * cx.batch_len());
        let mut owners = Vec::with_capacity(conditions.capacity());
        for (index, message) in cx.messages().enumerate() {
            let ticket = message.ticket.as_ref().filter(|ticket| ticket.database == database);
            let ack = ticket.cloned().map(Condition::Ack);
            let admit = message.sighting.clone().map(Condition::Admit);
            for condition in ack.into_iter().chain(admit) {
                conditions.push(condition);
                owners.push(index);
            }
        }
        (conditions, owners)
    }
}

/// The message comes back after a pause, uncharged.
fn away(cx: &mut Context, error: &dyn fmt::Display) -> Outcome {
    tracing::warn!(endpoint = cx.endpoint(), %error, "the store is away");
    cx.disposition = Disposition::Unknown;
    Ok(())
}

/// One refusal for each message. A lost lease outweighs the rest: the message is not ours to
/// settle any more.
fn by_message(refusals: &[(usize, Refusal)], owners: &[usize]) -> Vec<(usize, Refusal)> {
    let mut found: Vec<(usize, Refusal)> = Vec::new();
    for (condition, refusal) in refusals {
        let Some(&message) = owners.get(*condition) else { continue };
        match found.iter_mut().find(|(known, _)| *known == message) {
            Some((_, known)) if *refusal == Refusal::LeaseLost => *known = *refusal,
            Some(_) => {}
            None => found.push((message, *refusal)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_outweighs_other_refusals_of_the_same_message() {
        let refusals = [(1, Refusal::Duplicate), (2, Refusal::Duplicate), (3, Refusal::LeaseLost)];
        let owners = [0, 0, 1, 1];
        assert_eq!(
            by_message(&refusals, &owners),
            [(0, Refusal::Duplicate), (1, Refusal::LeaseLost)]
        );
    }
}
