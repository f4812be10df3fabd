//! The walk: chance does what senders, consumers, stores and operators do, to the broker and to the
//! model, and every look at both must show the same.

use super::chance::Chance;
use super::shelf::{Letter, Shelf};
use crate::kit::consumer::{Consumer, id_of};
use crate::kit::message::{message, message_id, queue_name, to_queue, to_topic};
use crate::kit::scene::Taken;
use crate::kit::topology::{plain, queues, subscribed};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, Deadline, ManualClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::store::{CommitError, Committed, Condition, Store};
use tramline_core::topology::{QueueSpec, Rule, Topology};
use tramline_core::transport::{
    CopyOf, Delivery, Outgoing, Sender, Sent, Source, Ticket, Transport,
};

const NAMES: [&str; 2] = ["first", "last"];
const TOPIC: &str = "orders";
/// Nothing takes that long but a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any walk.
const LONG: Duration = Duration::from_secs(1_000_000);
const CONSUMERS: usize = 3;

/// A broker that is its own store, on a clock that only the walk winds.
pub struct Walk<T, L> {
    /// The broker, and the same as another process sees it.
    pub handles: [T; 2],
    /// Its clock.
    pub clock: ManualClock,
    /// Ends every lease that anybody has.
    pub lose: L,
}

/// Walks `steps` steps by `seed`, and empties the broker in the end: what is left are handled
/// messages that are kept.
pub async fn walk<T, L>(broker: Walk<T, L>, seed: u64, steps: usize)
where
    T: Transport + Store,
    L: AsyncFn(),
{
    for handle in &broker.handles {
        handle.declare(&topology()).await.expect("the topology can be declared");
    }
    let mut walker = Walker::new(&broker, seed).await;
    for _ in 0..steps {
        walker.step().await;
        // Not always: a broker may do what is due only when it is looked at.
        if walker.chance.one_in(2) {
            walker.compare().await;
        }
    }
    walker.finish().await;
}

/// The first queue keeps an order by key and has nearly every other wish, the last one keeps one order and has one
/// message of a key at a time.
fn specs() -> [QueueSpec; 2] {
    let first = QueueSpec {
        ordering: Ordering::PerKey,
        priority_max: Some(2),
        length_max: Some(9),
        dedup_window: Some(Duration::from_secs(8)),
        keep_completed: Some(LONG),
        keep_dead: Some(LONG),
        ..plain(NAMES[0])
    };
    let last = QueueSpec {
        ordering: Ordering::PerQueue,
        length_max: Some(14),
        unique: true,
        ..plain(NAMES[1])
    };
    [first, last]
}

fn topology() -> Topology {
    let both = Topology { queues: specs().to_vec(), ..queues([]) };
    let first = subscribed(both, NAMES[0], TOPIC, [Rule::subject("#")]);
    subscribed(first, NAMES[1], TOPIC, [Rule::subject("#")])
}

/// What somebody holds.
struct Held<T: Transport> {
    queue: usize,
    seq: u64,
    consumer: usize,
    delivery: Taken<T>,
}

struct Walker<'b, T: Transport, L> {
    broker: &'b Walk<T, L>,
    chance: Chance,
    senders: [T::Sender; 2],
    /// Of each queue. With one slot each, it is plain what the next one gets.
    consumers: [Vec<Consumer<T::Receiver>>; 2],
    held: Vec<Held<T>>,
    /// Of deliveries that are over.
    stale: Vec<Ticket>,
    shelves: [Shelf; 2],
    sent_ever: u64,
    done: Vec<String>,
}

/// A message and the queues that it goes to.
struct Post {
    letter: Letter,
    to: Vec<usize>,
    outgoing: Outgoing,
}

impl<'b, T, L> Walker<'b, T, L>
where
    T: Transport + Store,
    L: AsyncFn(),
{
    async fn new(broker: &'b Walk<T, L>, seed: u64) -> Self {
        let [one, other] = &broker.handles;
        let sender = async |handle: &T| handle.sender().await.expect("a sender");
        let mut consumers = [Vec::new(), Vec::new()];
        for (number, name) in NAMES.iter().enumerate() {
            for consumer in 0..CONSUMERS {
                let handle = &broker.handles[consumer % 2];
                let source = Source {
                    spec: specs()[number].clone(),
                    ..Source::of(QueueRef::Main(queue_name(name)), 1)
                };
                let receiver = handle.receiver(&source).await.expect("a receiver");
                let consumer = Consumer::new(receiver, (*name).to_owned(), PATIENCE);
                consumers[number].push(consumer);
            }
        }
        Self {
            broker,
            chance: Chance::new(seed),
            senders: [sender(one).await, sender(other).await],
            consumers,
            held: Vec::new(),
            stale: Vec::new(),
            shelves: specs().map(Shelf::new),
            sent_ever: 0,
            done: vec![format!("seed {seed}")],
        }
    }

    async fn step(&mut self) {
        match self.chance.below(24) {
            0..6 => self.send().await,
            6..12 => self.take().await,
            12..17 => self.settle().await,
            17..19 => self.commit().await,
            19..21 => {
                let by = Duration::from_millis(500 * (1 + self.chance.below(5) as u64));
                self.note(format!("advance {by:?}"));
                self.broker.clock.advance(by);
            }
            21 => self.redrive().await,
            _ if self.chance.one_in(4) => self.purge().await,
            _ if self.chance.one_in(4) => self.lose().await,
            _ => self.take().await,
        }
    }

    async fn send(&mut self) {
        let posts: Vec<Post> = (0..=self.chance.below(3)).map(|_| self.post(true)).collect();
        let batch: Vec<Outgoing> = posts.iter().map(|post| post.outgoing.clone()).collect();
        let deadline = Deadline::after(self.now(), LONG);
        let sender = &self.senders[self.chance.below(2)];
        let answers = sender.send(&batch, deadline).await;
        for (post, answer) in posts.iter().zip(answers) {
            let is_in = self.shelve(post);
            match (&answer, is_in) {
                (Sent::Accepted { routed: Some(true) }, true) => {}
                (Sent::Refused(error), false) if error.kind() == ErrorKind::Full => {}
                _ => panic!("{answer:?} although it must be {is_in}: {}", self.story()),
            }
        }
    }

    /// A new message. Ids are new, and idempotency keys come again.
    fn post(&mut self, may_be_copy: bool) -> Post {
        self.sent_ever += 1;
        let id = format!("m{}", self.sent_ever);
        let now = self.now();
        let chance = &self.chance;
        let is_copy = may_be_copy && chance.one_in(8);
        let letter = Letter {
            key: chance.of(&[None, Some("a"), Some("a"), Some("b")]).map(str::to_owned),
            priority: chance.of(&[None, None, Some(1), Some(2), Some(7)]),
            expires_at: chance.one_in(5).then(|| now.after(Duration::from_secs(2))),
            once: chance.one_in(3).then(|| format!("k{}", chance.below(3))),
            due: chance.one_in(4).then(|| now.after(Duration::from_secs(chance.below(4) as u64))),
            is_copy,
            failures: u32::from(is_copy),
            id,
        };
        let envelope = Envelope {
            key: letter.key.clone(),
            priority: letter.priority,
            expires_at: letter.expires_at,
            idempotency_key: letter.once.clone(),
            ..message(&letter.id)
        };
        let queue = chance.below(2);
        let (to, outgoing) = match is_copy || chance.one_in(2) {
            true => (vec![queue], to_queue(NAMES[queue], envelope)),
            false => (vec![0, 1], to_topic(TOPIC, "orders.placed", envelope)),
        };
        let copy = is_copy.then(|| CopyOf::Retry {
            failures: 1,
            history: Default::default(),
            marks: Marks::default(),
        });
        let outgoing = Outgoing { due: letter.due, copy, ..outgoing };
        self.note(format!("send {letter:?} to {to:?}"));
        Post { letter, to, outgoing }
    }

    /// Puts a message where it goes, or nowhere because a queue is full. Answers whether it is in.
    fn shelve(&mut self, post: &Post) -> bool {
        let (now, letter) = (self.now(), &post.letter);
        let new = post.to.iter().filter(|queue| {
            let shelf = &self.shelves[**queue];
            !shelf.has_seen(letter, now) && !shelf.has_its_like(letter)
        });
        let new: Vec<usize> = new.copied().collect();
        if new.iter().any(|queue| self.shelves[*queue].is_full(letter)) {
            return false;
        }
        let seq = self.next_seq();
        new.iter().for_each(|queue| self.shelves[*queue].put(seq, letter.clone(), now));
        true
    }

    async fn take(&mut self) {
        let queue = self.chance.below(2);
        let is_busy = |consumer: &usize| {
            self.held.iter().any(|held| (held.queue, held.consumer) == (queue, *consumer))
        };
        let now = self.now();
        let Some(consumer) = (0..CONSUMERS).find(|consumer| !is_busy(consumer)) else { return };
        if self.shelves[queue].clone().take(now, true).is_none() {
            return;
        }
        self.note(format!("take from {queue}"));
        let story = self.story();
        let taking = self.consumers[queue][consumer].next_ever();
        let taken = tokio::time::timeout(PATIENCE, taking).await;
        let delivery = taken.unwrap_or_else(|_| panic!("nothing came: {story}"));
        let got = (id_of(&delivery), delivery.failures(), delivery.deliveries());
        let depth = self.depth(queue).await;
        let right = [true, false].into_iter().find_map(|at_once| {
            let mut shelf = self.shelves[queue].clone();
            let out = shelf.take(now, at_once)?;
            let is_it = got == (out.id.clone(), out.failures, Some(out.deliveries));
            (is_it && depth == shelf.depth(now)).then_some((shelf, out))
        });
        let Some((shelf, out)) = right else { panic!("{got:?} came, {depth:?}: {story}") };
        self.note(format!("took {out:?}"));
        self.shelves[queue] = shelf;
        self.held.push(Held { queue, seq: out.seq, consumer, delivery });
    }

    async fn settle(&mut self) {
        const PAUSE: Duration = Duration::from_secs(2);
        if self.held.is_empty() {
            return;
        }
        let Held { queue, seq, delivery, .. } =
            self.held.swap_remove(self.chance.below(self.held.len()));
        self.stale.extend(delivery.ticket());
        let now = self.now();
        let failures = delivery.failures() + 1;
        let retry = |after| Settlement::Retry {
            after,
            failures,
            notes: Vec::new(),
            marks: Marks::default(),
        };
        let shelf = &mut self.shelves[queue];
        let how = match self.chance.below(7) {
            0..3 => {
                shelf.ack(seq);
                Settlement::Ack
            }
            3 => {
                shelf.give_back(seq);
                Settlement::Return
            }
            4 => {
                shelf.retry(seq, Duration::ZERO, now);
                retry(Duration::ZERO)
            }
            5 => {
                shelf.retry(seq, PAUSE, now);
                retry(PAUSE)
            }
            _ => {
                shelf.bury(seq, 1);
                Settlement::DeadLetter { reason: Reason::Permanent, failures, notes: Vec::new() }
            }
        };
        self.note(format!("settle {} of {queue}: {how:?}", id_of(&delivery)));
        let settled = delivery.settle(how).await.expect("it can be settled");
        assert_eq!(settled, Settled::Done, "{}", self.story());
    }

    /// Acks some of what is held, and publishes, in one transaction. It may name a delivery that is
    /// over, or publish to a full queue: then nothing of it happens.
    async fn commit(&mut self) {
        let many = self.chance.below(self.held.len().min(3) + 1);
        let first = self.held.len() - many;
        let tickets = self.held[first..].iter().filter_map(|held| held.delivery.ticket());
        let mut tickets: Vec<Ticket> = tickets.collect();
        let is_refused = !self.stale.is_empty() && self.chance.one_in(4);
        if is_refused {
            tickets.push(self.chance.of(&self.stale));
        }
        let posts: Vec<Post> = (0..self.chance.below(3)).map(|_| self.post(false)).collect();
        let before = self.shelves.clone();
        self.held[first..].iter().for_each(|held| self.shelves[held.queue].ack(held.seq));
        // Every message is put, so that the model's places are used up alike.
        let fits = posts.iter().fold(true, |fits, post| fits & self.shelve(post));
        self.note(format!("commit: ack {tickets:?}, stale {is_refused}, fits {fits}"));
        let handle = &self.broker.handles[self.chance.below(2)];
        let tx = handle.begin(self.scope()).await.expect("a transaction can be begun");
        let conditions = tickets.into_iter().map(Condition::Ack).collect();
        let buffered = posts.into_iter().map(|post| post.outgoing).collect();
        let committed = handle.commit(tx, conditions, buffered).await;
        match (committed, is_refused, fits) {
            (Ok(Committed::Done), false, true) => {
                for held in self.held.drain(first..) {
                    self.stale.extend(held.delivery.ticket());
                    held.delivery.settled_by_store();
                }
            }
            (Ok(Committed::Refused(_)), true, _) | (Err(CommitError::Handler(_)), false, false) => {
                self.shelves = before
            }
            (other, ..) => panic!("{other:?} came: {}", self.story()),
        }
    }

    fn scope(&self) -> Scope {
        let composer = Composer {
            encoding: Encoding::Json,
            clock: Arc::new(self.broker.clock.clone()),
            entropy: Arc::new(SystemEntropy),
        };
        Scope::outside(Arc::new(composer), Publishing::Queues)
    }

    async fn redrive(&mut self) {
        let queue = self.chance.below(2);
        let dead: Vec<(u64, String)> =
            self.shelves[queue].dead.iter().map(|(seq, dead)| (*seq, dead.id.clone())).collect();
        if dead.is_empty() {
            return;
        }
        let (seq, id) = self.chance.of(&dead);
        self.note(format!("redrive {id} of {queue}"));
        let what = Redrive::ids([message_id(&id)]);
        let redriven = self.operator().redrive(&queue_name(NAMES[queue]), what).await;
        assert_eq!(redriven.expect("dead letters can be redriven"), 1, "{}", self.story());
        let (new, now) = (self.next_seq(), self.now());
        self.shelves[queue].redrive(seq, new, now);
    }

    async fn purge(&mut self) {
        let queue = self.chance.below(2);
        self.note(format!("purge {queue}"));
        let now = self.now();
        let purged = self.shelves[queue].purge(now);
        let main = QueueRef::Main(queue_name(NAMES[queue]));
        let answer = self.operator().purge(&main).await.expect("a queue can be purged");
        assert_eq!(answer, purged, "{}", self.story());
    }

    async fn lose(&mut self) {
        self.note("lose everything".to_owned());
        (self.broker.lose)().await;
        self.shelves.iter_mut().for_each(Shelf::lose);
        for held in std::mem::take(&mut self.held) {
            self.stale.extend(held.delivery.ticket());
            let settled = held.delivery.settle(Settlement::Ack).await.expect("an answer");
            assert_eq!(settled, Settled::LeaseLost, "{}", self.story());
        }
    }

    /// Everything that can be seen is as it is in the model.
    async fn compare(&mut self) {
        let now = self.now();
        for (queue, name) in NAMES.iter().enumerate() {
            let (is, should_be) = (self.depth(queue).await, self.shelves[queue].depth(now));
            assert_eq!(is, should_be, "queue {queue}: {}", self.story());
            let age = self.operator().age(&queue_name(name)).await.expect("an age");
            assert_eq!(age, self.shelves[queue].age(now), "queue {queue}: {}", self.story());
        }
    }

    /// Ready, leased and delayed messages, and dead letters.
    async fn depth(&self, queue: usize) -> [u64; 4] {
        let depth = self.operator().depth(&queue_name(NAMES[queue])).await.expect("a depth");
        let depth = [depth.ready, depth.leased, depth.delayed, depth.dead];
        depth.map(|figure| figure.known().expect("a figure"))
    }

    /// Handles everything, and looks at what is kept.
    async fn finish(mut self) {
        for held in std::mem::take(&mut self.held) {
            self.shelves[held.queue].ack(held.seq);
            held.delivery.settle(Settlement::Ack).await.expect("it can be settled");
        }
        self.broker.clock.advance(Duration::from_secs(3600));
        while self.shelves.iter().any(|shelf| shelf.clone().take(self.now(), true).is_some()) {
            self.take().await;
            for Held { queue, seq, delivery, .. } in std::mem::take(&mut self.held) {
                self.shelves[queue].ack(seq);
                delivery.settle(Settlement::Ack).await.expect("it can be settled");
            }
        }
        for (number, name) in NAMES.iter().enumerate() {
            let (name, story) = (queue_name(name), self.story());
            let main = self.operator().purge(&QueueRef::Main(name.clone())).await;
            let expired = self.shelves[number].purge(self.now());
            assert_eq!(main.expect("a queue can be purged"), expired, "{story}");
            let dead = self.operator().purge(&QueueRef::Dead(name.clone())).await;
            let dead = dead.expect("dead letters can be purged");
            assert_eq!(dead, self.shelves[number].dead.len() as u64, "{story}");
            let kept = self.operator().completed(&name, None, u32::MAX).await;
            let kept = kept.expect("completed messages can be looked at");
            let kept: Vec<String> =
                kept.iter().filter_map(|one| Some(one.envelope.id.as_ref()?.to_string())).collect();
            assert_eq!(kept, self.shelves[number].completed(), "queue {number}: {story}");
        }
    }

    fn operator(&self) -> &dyn Operate {
        self.broker.handles[0].operate().expect("it can be operated")
    }

    fn now(&self) -> tramline_core::clock::Timestamp {
        self.broker.clock.now()
    }

    fn next_seq(&mut self) -> u64 {
        self.sent_ever += 1;
        self.sent_ever
    }

    fn note(&mut self, what: String) {
        self.done.push(what);
    }

    /// The last of what was done.
    fn story(&self) -> String {
        const SHOWN: usize = 60;
        let first = self.done.len().saturating_sub(SHOWN);
        format!("{}\n{}", self.done[0], self.done[first..].join("\n"))
    }
}
