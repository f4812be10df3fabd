//! What a process is given when it starts.

use super::ledger::Ledger;
use crate::pipeline::PoisonLane;
use crate::testing::faults::{Dice, Faults, Faulty, LifeId};
use crate::testing::trace::Trace;
use crate::{Bus, BusBuilder};
use std::fmt;
use std::sync::Arc;
use tramline_core::clock::{ManualClock, SeededEntropy};
use tramline_core::erased::DynTransport;
use tramline_core::store::Store;
use tramline_core::transport::Transport;
use tramline_memory::Memory;

/// One life of a process, from its start to its death.
pub struct Life {
    pub(crate) id: LifeId,
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) clock: ManualClock,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    /// The process's own handles: they die with it.
    pub(crate) memory: Arc<Memory>,
    pub(crate) elsewhere: Arc<Memory>,
}

impl Life {
    /// An empty bus on the faulty [`transport`](Self::transport), to which endpoints, states and
    /// stores are added.
    pub fn bus(&self) -> BusBuilder {
        self.bus_on(self.transport())
    }

    /// An empty bus on a transport of the caller's, such as one around
    /// [`transport`](Self::transport).
    pub fn bus_on<T: Transport>(&self, transport: T) -> BusBuilder {
        let transport: Box<dyn DynTransport> = Box::new(transport);
        // Each life has chances of its own, as each process has: else their ids would be alike.
        let LifeId { process, life } = self.id;
        let dice = Dice::of(self.seed, &[0x6c69_6665, u64::from(process), u64::from(life)]);
        let (ledger, trace, id) = (self.ledger.clone(), self.trace.clone(), self.id);
        Bus::builder(transport)
            .clock(self.clock.clone())
            .entropy(SeededEntropy::new(dice.below(u64::MAX)))
            .poison_lane(PoisonLane::default())
            .on_handled(move |queue, envelope| ledger.handled(id, &trace, queue, envelope))
    }

    /// The memory that carries the messages, its calls going wrong by the seed.
    pub fn transport(&self) -> Faulty<Memory> {
        self.around(&self.memory)
    }

    /// The same memory as a store: acks are part of its transactions.
    pub fn store(&self) -> Faulty<Memory> {
        self.around(&self.memory)
    }

    /// A store that is another database than the transport.
    pub fn elsewhere(&self) -> Faulty<Memory> {
        self.around(&self.elsewhere)
    }

    /// A store of the caller's, its calls going wrong by the seed. A replay is exact if it does
    /// nothing by other threads or by the machine's clock.
    pub fn faulty<S: Store>(&self, store: S) -> Faulty<S> {
        self.around(&Arc::new(store))
    }

    /// What goes wrong, for fakes of the outside world: see [`Faults::call`].
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The clock of this world.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Which process this is, from 1.
    pub fn process(&self) -> u32 {
        self.id.process
    }

    /// Which of its lives this is, from 1.
    pub fn number(&self) -> u32 {
        self.id.life
    }

    fn around<T>(&self, inner: &Arc<T>) -> Faulty<T> {
        Faulty::new(inner.clone(), self.faults.clone(), self.ledger.clone())
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Life({})", self.id)
    }
}
