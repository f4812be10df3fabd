//! Whoever has asked learns that his request has failed for good.

use crate::MessageId;
use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::request::{Fault, failed, fault_of, unreadable};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tramline_core::compose::{Parent, Publishing, Scope, Target};
use tramline_core::draft::Draft;
use tramline_core::envelope::Envelope;
use tramline_core::transport::Sent;

/// Tells the requester of `request` that it is a dead letter now. Sent once: if it does not arrive, or the
/// process has died before, the request times out.
pub(super) async fn answer(shared: &Shared, request: &Arc<Envelope>, ending: &Ending) {
    let Some(address) = &request.reply_to else { return };
    let fault = match ending {
        // Nobody waits for it any more.
        Ending::Expired => return,
        // The text is the user's code.
        Ending::Failed(failure) => {
            let told = catch_unwind(AssertUnwindSafe(|| fault_of(failure)));
            told.unwrap_or_else(|_| failed())
        }
        Ending::Unknown(_) => unreadable(),
        _ => failed(),
    };
    let surroundings = &shared.surroundings;
    let new_id = || MessageId::new(shared.now(), surroundings.composer.entropy.bits());
    let parent = Parent {
        id: request.id.clone().unwrap_or_else(new_id),
        envelope: request.clone(),
        endpoint: surroundings.identity.clone(),
    };
    let scope = Scope::outside(surroundings.composer.clone(), Publishing::Queues);
    let scope = Scope { parent: Some(parent), ..scope };
    let composed = scope.compose(Draft::of(&Fault(fault)), Target::Address(address.clone()));
    let Ok(mut outgoing) = composed else { return };
    Arc::make_mut(&mut outgoing.envelope).id = Some(new_id());
    let sent = shared.sender.send_dyn(&[outgoing], shared.send_deadline()).await;
    if let Some(Sent::Refused(error) | Sent::Unknown(error)) = sent.into_iter().next() {
        tracing::warn!(endpoint = &*surroundings.name, %error, "a requester could not be told of his failure");
    }
}
