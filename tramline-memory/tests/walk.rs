//! Random walks over a memory beside a model.

use std::sync::Arc;
use tramline_conformance::{Walk, walk};
use tramline_core::clock::{ManualClock, SeededEntropy};
use tramline_core::name::QueueName;
use tramline_memory::Memory;

#[test]
fn what_chance_does_to_a_memory_does_to_it_what_it_does_to_a_model() {
    for seed in 0..60 {
        let clock = ManualClock::default();
        let entropy = Arc::new(SeededEntropy::new(seed));
        let memory = Memory::options().clock(Arc::new(clock.clone())).entropy(entropy).build();
        let lose = async || {
            for queue in ["first", "last"] {
                memory.expire_leases(&QueueName::new(queue).unwrap());
            }
        };
        let broker = Walk { handles: [memory.clone(), memory.clone()], clock, lose };
        tramline_conformance::run(walk(broker, seed, 300));
    }
}
