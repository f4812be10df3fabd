//! What one channel delivered, for as long as the channel lives.

use super::flag::Flag;
use super::frames::Frames;
use super::ledger::Ledger;
use super::order::Order;
use crate::link::Session;
use crate::rabbitmq::Shared;
use futures_util::FutureExt;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Channel, Consumer};
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Settled;

/// What the protocol calls a close without a fault.
const REPLY_SUCCESS: u16 = 200;
/// How long what is done may wait for more that is done.
const WAIT: Duration = Duration::from_millis(1);

/// A channel, and the deliveries that the broker waits for on it.
///
/// Acks are gathered: the broker is told at once when nothing else is at hand, else when enough are
/// done or a moment later. Each delivery holds its lease, which keeps the channel open. When the
/// channel is gone, all of its deliveries are lost: the broker gives them to somebody else.
pub(crate) struct Lease {
    origin: Origin,
    session: Session,
    /// That which it began in: its last delivery may end outside any.
    runtime: Handle,
    lost: CancellationToken,
    /// Something was given back that comes again only when the channel has ended.
    spent: Flag,
    due: Arc<Notify>,
    /// So many done ones are told at once.
    worth: usize,
    books: Mutex<Books>,
}

/// Where the deliveries come from.
pub(super) struct Origin {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: QueueRef,
    pub(super) order: Order,
}

struct Books {
    /// `None` once lost.
    channel: Option<Channel>,
    /// It hands out nothing more, and keeps the broker from others until the channel ends.
    retired: Option<Consumer>,
    ledger: Ledger,
    frames: Frames,
    /// The receiver has nothing more to hand out: no more will be done soon than is at work.
    at_rest: bool,
    /// The keeper was told that something waits.
    is_due: bool,
    /// Until then nothing is told, so that the broker's count of what is unsettled comes to its limit.
    withheld_until: Option<Instant>,
}

impl Lease {
    /// The lease of what `channel` delivers, up to `prefetch` at once.
    pub(super) fn begin(
        origin: Origin,
        session: Session,
        channel: Channel,
        prefetch: u16,
    ) -> Arc<Self> {
        let books = Books {
            channel: Some(channel),
            retired: None,
            ledger: Ledger::default(),
            frames: Frames::default(),
            at_rest: false,
            is_due: false,
            withheld_until: None,
        };
        let lease = Arc::new(Self {
            origin,
            session,
            runtime: Handle::current(),
            lost: CancellationToken::new(),
            spent: Flag::default(),
            due: Arc::new(Notify::new()),
            worth: usize::from(prefetch / 8).max(1),
            books: Mutex::new(books),
        });
        tokio::spawn(keep(Keeper::of(&lease)));
        lease
    }

    /// Where its deliveries come from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The connection that it is on.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The channel, unless it is lost.
    pub(crate) fn channel(&self) -> Option<Channel> {
        self.books.lock().channel.clone()
    }

    /// The receiver hands out `tag`.
    pub(crate) fn delivered(&self, tag: u64) {
        let mut books = self.books.lock();
        books.at_rest = false;
        books.ledger.delivered(tag);
    }

    /// The receiver waits for more.
    pub(crate) fn rests(&self) {
        let mut books = self.books.lock();
        books.at_rest = true;
        if books.ledger.is_all_done() && !books.is_withheld() {
            self.heed(books.tell_prefix());
        }
    }

    /// Tells the broker of nothing that is done, until [`release`](Self::release) or this moment,
    /// whether or not the receiver is asked for more meanwhile.
    pub(super) fn withhold(&self, until: Instant) {
        let mut books = self.books.lock();
        books.withheld_until = Some(until);
        books.is_due = true;
        self.due.notify_one();
    }

    /// Tells the broker what was withheld.
    pub(super) fn release(&self) {
        self.books.lock().withheld_until = None;
        if self.tick() {
            self.due.notify_one();
        }
    }

    /// How many of those that were handed out the broker waits for.
    pub(super) fn unheard(&self) -> usize {
        self.books.lock().ledger.unheard()
    }

    /// `tag` is done. Whether the broker hears of it is not waited for: acks have no answer.
    pub(crate) fn done(&self, tag: u64) -> Settled {
        if self.is_lost() {
            return Settled::LeaseLost;
        }
        let mut books = self.books.lock();
        books.ledger.done(tag);
        if books.is_withheld() {
            return Settled::Done;
        }
        let nothing_else_is_at_hand = books.at_rest && books.ledger.is_all_done();
        if (nothing_else_is_at_hand || books.ledger.untold() >= self.worth)
            && self.heed(books.tell_prefix()) == Settled::LeaseLost
        {
            return Settled::LeaseLost;
        }
        if books.ledger.untold() > 0 && !books.is_due {
            books.is_due = true;
            self.due.notify_one();
        }
        Settled::Done
    }

    /// `tag` goes back to its queue. If it has a place there, or other consumers wait for the end of
    /// this one, that is done by the end of the channel, and of everything else at once.
    pub(crate) fn give_back(&self, tag: u64, has_place: bool) -> Settled {
        if self.is_lost() {
            return Settled::LeaseLost;
        }
        let mut books = self.books.lock();
        if has_place || books.retired.is_some() {
            self.spent.raise();
            return Settled::Done;
        }
        if books.ledger.returned(tag) {
            return self.heed(books.tell_returned(tag));
        }
        Settled::Done
    }

    /// Tells the broker of everything that is done.
    pub(crate) fn tell_all(&self) {
        let mut books = self.books.lock();
        let mut told = books.tell_prefix();
        // What a sweep marks, the next one takes.
        for _ in 0..2 {
            told = told.and(books.tell_overdue());
        }
        self.heed(told);
    }

    /// Gives up the channel: the broker takes back what is out.
    pub(crate) fn lose(&self) {
        self.tell_all();
        self.lost.cancel();
        drop(self.books.lock().let_go());
    }

    /// Nothing more is handed out. `consumer` stays until the last delivery has let go of this lease;
    /// then the channel ends, and all that the consumer still had is back in its place before others
    /// get anything.
    pub(super) fn retire(&self, consumer: Consumer) {
        self.books.lock().retired = Some(consumer);
    }

    /// Whether something waits for the end of the channel to come again.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.is_raised()
    }

    /// Ends when something waits for the end of the channel to come again. Cancel-safe.
    pub(super) async fn spent(&self) {
        self.spent.raised().await;
    }

    /// Whether the deliveries are lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || self.session.has_ended()
    }

    /// Ends when the deliveries are lost. Cancel-safe.
    pub(crate) async fn lost(&self) {
        tokio::select! {
            () = self.lost.cancelled() => {}
            () = self.session.ended() => {}
        }
    }

    fn heed(&self, told: Result<(), Gone>) -> Settled {
        match told {
            Ok(()) => Settled::Done,
            Err(Gone) => {
                self.lost.cancel();
                Settled::LeaseLost
            }
        }
    }

    /// Whether something is left that is done and was not told, or is withheld.
    fn tick(&self) -> bool {
        let mut books = self.books.lock();
        if books.is_withheld() {
            if books.withheld_until.is_some_and(|until| Instant::now() < until) {
                return true;
            }
            books.withheld_until = None;
        }
        let prefix = books.tell_prefix();
        self.heed(prefix.and(books.tell_overdue()));
        books.is_due = books.ledger.untold() > 0;
        books.is_due
    }

    fn is_open(&self) -> bool {
        let books = self.books.lock();
        books.channel.as_ref().is_some_and(|channel| channel.status().connected())
    }
}

impl Drop for Lease {
    /// The channel stays until the broker has heeded all, as long as there is a runtime to wait in.
    fn drop(&mut self) {
        let is_lost = self.is_lost();
        if !is_lost {
            self.tell_all();
        }
        self.lost.cancel();
        let books = self.books.get_mut();
        let heeded_at = books.frames.all_heeded_at(Instant::now()).filter(|_| !is_lost);
        let rest = books.let_go();
        if let Some(at) = heeded_at {
            self.origin.shared.leases.has_ended(at);
            let session = self.session.clone();
            self.runtime.spawn(async move {
                let _ = timeout_at(at.into(), session.ended()).await;
                drop(rest);
            });
        }
    }
}

/// What is left of a lease: its channel, which ends with this, whatever comes in between.
struct Rest {
    channel: Option<Channel>,
    retired: Option<Consumer>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let (Some(channel), Some(_)) = (&self.channel, &self.retired) {
            // Closed before the consumer is let go of: that would cancel it first.
            let closed = channel.close(REPLY_SUCCESS, "what is left goes back".into());
            if let Some(Err(error)) = closed.now_or_never() {
                tracing::debug!(%error, "the channel had ended before it was closed");
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("is_lost", &self.is_lost()).finish_non_exhaustive()
    }
}

/// The leases of one handle.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    living: Mutex<Vec<Weak<Lease>>>,
    /// When the broker has heeded what was told by those that have ended.
    heeded_at: Mutex<Option<Instant>>,
}

impl Leases {
    /// Remembers `lease` while it lives.
    pub(super) fn add(&self, lease: &Arc<Lease>) {
        let mut leases = self.living.lock();
        leases.retain(|lease| lease.strong_count() > 0);
        leases.push(Arc::downgrade(lease));
    }

    fn has_ended(&self, heeded_at: Instant) {
        let mut latest = self.heeded_at.lock();
        *latest = (*latest).max(Some(heeded_at));
    }

    /// Tells the broker of everything that is done, and leaves it a moment to heed it, for who is about
    /// to close the connection. Cancel-safe.
    pub(crate) async fn tell_all(&self) {
        let leases: Vec<_> = self.living.lock().iter().filter_map(Weak::upgrade).collect();
        let mut heeded_at = *self.heeded_at.lock();
        for lease in leases.iter().filter(|lease| !lease.is_lost()) {
            lease.tell_all();
            heeded_at = heeded_at.max(lease.books.lock().frames.all_heeded_at(Instant::now()));
        }
        drop(leases);
        while let Some(at) = heeded_at.filter(|at| *at > Instant::now()) {
            sleep_until(at.into()).await;
            // Another may have ended meanwhile.
            heeded_at = *self.heeded_at.lock();
        }
    }
}

/// The channel takes no frames any more.
struct Gone;

/// Each frame is handed over at the first poll, and there is nothing to wait for after that: so they
/// are sent in the order of these calls, under the lock of the books.
impl Books {
    fn is_withheld(&self) -> bool {
        self.withheld_until.is_some()
    }

    fn tell_prefix(&mut self) -> Result<(), Gone> {
        match self.ledger.take_prefix() {
            Some(up_to) => self.ack(up_to, true),
            None => Ok(()),
        }
    }

    fn tell_overdue(&mut self) -> Result<(), Gone> {
        let overdue = self.ledger.sweep();
        overdue.into_iter().try_for_each(|tag| self.ack(tag, false))
    }

    fn tell_returned(&mut self, tag: u64) -> Result<(), Gone> {
        let Some(channel) = &self.channel else { return Err(Gone) };
        self.frames.sent(Instant::now());
        let options = BasicNackOptions { requeue: true, multiple: false };
        handed_over(channel.basic_nack(tag, options).now_or_never())
    }

    fn let_go(&mut self) -> Rest {
        Rest { channel: self.channel.take(), retired: self.retired.take() }
    }

    fn ack(&mut self, tag: u64, multiple: bool) -> Result<(), Gone> {
        let Some(channel) = &self.channel else { return Err(Gone) };
        self.frames.sent(Instant::now());
        handed_over(channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never())
    }
}

fn handed_over(sent: Option<lapin::Result<()>>) -> Result<(), Gone> {
    match sent {
        Some(Err(error)) => {
            tracing::debug!(%error, "a settlement could not be sent: the messages come again");
            Err(Gone)
        }
        _ => Ok(()),
    }
}

/// What looks after a lease, and does not keep it.
struct Keeper {
    lease: Weak<Lease>,
    due: Arc<Notify>,
    session: Session,
    lost: CancellationToken,
}

impl Keeper {
    fn of(lease: &Arc<Lease>) -> Self {
        Self {
            lease: Arc::downgrade(lease),
            due: lease.due.clone(),
            session: lease.session.clone(),
            lost: lease.lost.clone(),
        }
    }
}

/// Tells the broker of what waited, and notices when the channel is gone, until the lease ends.
async fn keep(keeper: Keeper) {
    /// The client does not say when the broker closes a channel that nobody reads from.
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let Keeper { lease, due, session, lost } = keeper;
    loop {
        let is_due = tokio::select! {
            biased;
            () = lost.cancelled() => break,
            () = session.ended() => break,
            () = due.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let Some(held) = lease.upgrade() else { return };
        if !held.is_open() {
            break;
        }
        drop(held);
        if is_due {
            tell_until_all_is_told(&lease).await;
        }
    }
    if let Some(lease) = lease.upgrade() {
        lease.lose();
    }
}

async fn tell_until_all_is_told(lease: &Weak<Lease>) {
    loop {
        tokio::time::sleep(WAIT).await;
        match lease.upgrade() {
            Some(lease) if !lease.is_lost() && lease.tick() => {}
            _ => return,
        }
    }
}
