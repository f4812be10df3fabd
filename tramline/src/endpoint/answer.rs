//! Whoever has asked learns that his request has failed for good.

use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::request::{Fault, fault_of, unreadable};
use crate::{Failure, MessageId};
use std::sync::Arc;
use tramline_core::compose::{Parent, Publishing, Scope, Target};
use tramline_core::draft::Draft;
use tramline_core::envelope::Envelope;
use tramline_core::transport::Sent;

/// Tells the requester of `request`, if it is one that is answered here, of its dead letter. Sent once: if it
/// does not arrive, the request times out. Dies the process behind it, the request is handled again, and what
/// comes of that is late.
pub(super) async fn answer(shared: &Shared, request: &Arc<Envelope>, ending: &Ending) {
    let Some(address) = &request.reply_to else { return };
    let fault = match ending {
        // Nobody waits for it any more.
        Ending::Expired => return,
        Ending::Failed(failure) => fault_of(failure),
        Ending::Unknown(_) => unreadable(),
        _ => fault_of(&Failure::retryable("it was given up")),
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
