//! What temporary queues are called.

use tramline_core::capabilities::TemporaryQueues;
use tramline_core::clock::Entropy;
use tramline_core::name::QueueName;
use tramline_core::topology::QueueSpec;

/// Gives a temporary queue a name unlike all others where its transport does not: several processes of one
/// service ask for it under one name, and each is to have its own.
pub(crate) fn name_temporary(spec: &mut QueueSpec, can: TemporaryQueues, entropy: &dyn Entropy) {
    if spec.temporary && can == TemporaryQueues::ByName {
        // By chance alone: no two of a billion are alike.
        let chance = (entropy.bits() >> 64) as u64;
        spec.name = QueueName::foreign(format!("{}.{chance:016x}", spec.name));
    }
}
