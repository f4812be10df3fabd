//! What a simulation is about: processes, messages, and what must hold.

use super::client::Job;
use super::life::Life;
use crate::publish::ThroughBus;
use crate::{Bus, BusBuilder};
use futures_util::FutureExt;
use std::fmt;
use std::sync::Arc;
use tramline_core::Message;
use tramline_core::draft::Draft;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Operate, Peeked};
use tramline_memory::store::Db;
use tramline_memory::{Memory, MemoryOptions};

/// One world to be simulated: who runs in it, what is sent, and what must hold.
///
/// Made anew for every seed, so that nothing of one run is seen in another.
pub struct Scenario {
    pub(crate) processes: Vec<Build>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) memory: MemoryOptions,
}

/// Builds the bus of a process that starts.
pub(crate) type Build = Arc<dyn Fn(&Life) -> BusBuilder + Send + Sync>;

/// What must hold.
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    /// After each life, and not only at the end.
    pub(crate) always: bool,
    pub(crate) check: Check,
}

type Check = Box<dyn Fn(&Aftermath) -> Result<(), String> + Send + Sync>;

impl Scenario {
    /// A world with one process. `build` is called whenever it starts, again after each death:
    /// what it makes is lost with the process. What the outside world is to remember is made
    /// before, and shared.
    pub fn new(build: impl Fn(&Life) -> BusBuilder + Send + Sync + 'static) -> Self {
        Self {
            processes: Vec::new(),
            jobs: Vec::new(),
            invariants: Vec::new(),
            memory: Memory::options(),
        }
        .process(build)
    }

    /// Another process on the same broker and databases.
    pub fn process(mut self, build: impl Fn(&Life) -> BusBuilder + Send + Sync + 'static) -> Self {
        self.processes.push(Arc::new(build));
        self
    }

    /// The first process sends `message` to `queue`, under one id, until that is confirmed.
    /// Messages are sent one after the other, in the order in which they are given here.
    pub fn send<M: Message>(self, queue: &str, message: M) -> Self {
        self.send_with(queue, message, |draft| draft)
    }

    /// The same, with options: `|draft| draft.key("7")`.
    pub fn send_with<M: Message>(
        self,
        queue: &str,
        message: M,
        options: impl for<'a> Fn(Draft<'a, M, ThroughBus<'a>>) -> Draft<'a, M, ThroughBus<'a>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let all = Arc::new((queue.to_owned(), message, options));
        self.job::<M>(move |bus, id| {
            let all = all.clone();
            Box::pin(async move { (all.2)(bus.send(&all.0, &all.1).id(id)).await })
        })
    }

    /// The first process publishes `event`, under one id, until that is confirmed.
    pub fn publish<M: Message>(self, event: M) -> Self {
        self.publish_with(event, |draft| draft)
    }

    /// The same, with options: `|draft| draft.key("7")`.
    pub fn publish_with<M: Message>(
        self,
        event: M,
        options: impl for<'a> Fn(Draft<'a, M, ThroughBus<'a>>) -> Draft<'a, M, ThroughBus<'a>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let all = Arc::new((event, options));
        self.job::<M>(move |bus, id| {
            let all = all.clone();
            Box::pin(async move { (all.1)(bus.publish(&all.0).id(id)).await })
        })
    }

    /// The first process does `act` once everything that is given before is confirmed, and does it
    /// again until it answers `Ok`: what operators do, such as a redrive. It may die in the middle,
    /// and the next of its lives begins from the beginning.
    pub fn act<F: Future<Output = tramline_core::Result<()>> + Send + 'static>(
        mut self,
        name: &'static str,
        act: impl Fn(Bus) -> F + Send + Sync + 'static,
    ) -> Self {
        self.jobs.push(Job::Act { name, act: Box::new(move |bus| Box::pin(act(bus))) });
        self
    }

    /// What must hold when nothing is left to do. Answer an `Err` that says how it does not.
    pub fn finally(
        self,
        name: &'static str,
        check: impl Fn(&Aftermath) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.invariant(name, false, Box::new(check))
    }

    /// What must hold after each life as well, and so at any moment.
    pub fn always(
        self,
        name: &'static str,
        check: impl Fn(&Aftermath) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.invariant(name, true, Box::new(check))
    }

    /// Changes the memory that carries the messages, such as to one without native retries.
    pub fn memory(mut self, change: impl FnOnce(MemoryOptions) -> MemoryOptions) -> Self {
        self.memory = change(self.memory);
        self
    }

    fn job<M: Message>(
        mut self,
        send: impl for<'a> Fn(
            &'a Bus,
            crate::MessageId,
        ) -> crate::BoxFuture<'a, super::client::Confirmed>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.jobs.push(Job::Send { name: M::NAME, send: Box::new(send) });
        self
    }

    fn invariant(mut self, name: &'static str, always: bool, check: Check) -> Self {
        self.invariants.push(Invariant { name, always, check });
        self
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (processes, jobs) = (self.processes.len(), self.jobs.len());
        write!(f, "Scenario({processes} processes, {jobs} messages and acts)")
    }
}

/// What is durable: what invariants look at.
#[derive(Debug)]
pub struct Aftermath {
    pub(crate) memory: Memory,
    pub(crate) elsewhere: Memory,
    pub(crate) dead: Vec<(QueueName, Peeked)>,
}

impl Aftermath {
    /// Looks at the tables of the memory that is transport and store.
    pub fn read<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        read(&self.memory, look)
    }

    /// Looks at the tables of the store that is another database than the transport.
    pub fn read_elsewhere<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        read(&self.elsewhere, look)
    }

    /// What is in `queue`, in its order: what waits, whatever for, and what is at work.
    pub fn queued(&self, queue: &str) -> Vec<Peeked> {
        let queue = QueueRef::Main(QueueName::foreign(queue));
        let there = self.memory.peek(&queue, None, u32::MAX).now_or_never();
        // Nothing is in a queue that was not declared yet.
        there.expect("a memory never waits").unwrap_or_default()
    }

    /// The dead letters of `queue`.
    pub fn dead_letters(&self, queue: &str) -> impl Iterator<Item = &Peeked> {
        self.dead.iter().filter(move |(name, _)| name.as_str() == queue).map(|(_, dead)| dead)
    }
}

fn read<T>(memory: &Memory, look: impl FnOnce(&Db<'_>) -> T) -> T {
    memory.read(look).now_or_never().expect("a memory never waits")
}
