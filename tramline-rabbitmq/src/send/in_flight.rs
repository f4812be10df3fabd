//! Publications that wait for their end: whose future was woken is polled, and no other.

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::mem::swap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio_util::sync::ReusableBoxFuture;

/// Where it is noted which flights were woken, in the order in which they were.
#[derive(Debug, Default)]
pub(super) struct Woken {
    numbers: Mutex<Vec<u64>>,
    /// Who polls them.
    task: AtomicWaker,
}

impl Woken {
    /// Takes the flights that were woken since the last call: `numbers`, which is empty, has them then.
    /// Wakes the task of `cx` when there are others.
    pub(super) fn take(&self, numbers: &mut Vec<u64>, cx: &Context<'_>) {
        debug_assert!(numbers.is_empty(), "they were all polled");
        self.task.register(cx.waker());
        swap(&mut *self.numbers.lock(), numbers);
    }

    /// Wakes who polls, though no flight was woken.
    pub(super) fn wake_task(&self) {
        self.task.wake();
    }

    fn note(&self, number: u64) {
        let is_first = {
            let mut numbers = self.numbers.lock();
            numbers.push(number);
            numbers.len() == 1
        };
        if is_first {
            self.task.wake();
        }
    }
}

/// One that has not ended, or the room that it leaves: the client's future is larger than a kilobyte,
/// with which allocators are slow, so the next one uses its room again.
pub(super) struct Flight<E> {
    room: Option<ReusableBoxFuture<'static, E>>,
    /// What became of it if that was known at once.
    ended: Option<E>,
    call: Arc<Call>,
    waker: Waker,
}

/// Notes the flight that is woken.
struct Call {
    number: AtomicU64,
    woken: Arc<Woken>,
}

impl<E: Send + 'static> Flight<E> {
    /// A room whose flights are noted in `woken`.
    pub(super) fn new(woken: &Arc<Woken>) -> Self {
        let call = Arc::new(Call { number: AtomicU64::new(0), woken: woken.clone() });
        Self { room: None, ended: None, waker: Waker::from(call.clone()), call }
    }

    /// Begins with flight `number`, as far as it comes at once. The flight before has ended.
    pub(super) fn begin(&mut self, number: u64, one: impl Future<Output = E> + Send + 'static) {
        // One that is woken for the flight before is polled once more than it must be.
        self.call.number.store(number, Ordering::Release);
        match &mut self.room {
            Some(room) => room.set(one),
            None => self.room = Some(ReusableBoxFuture::new(one)),
        }
        if let Poll::Ready(ended) = self.poll() {
            self.ended = Some(ended);
            self.call.woken.note(number);
        }
    }

    /// Goes on with it. Not to be called again when it has ended.
    pub(super) fn poll(&mut self) -> Poll<E> {
        if let Some(ended) = self.ended.take() {
            return Poll::Ready(ended);
        }
        let room = self.room.as_mut().expect("it has begun");
        room.poll(&mut Context::from_waker(&self.waker))
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.note(self.number.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{pending, ready};
    use futures_util::task::noop_waker_ref;
    use std::future::poll_fn;
    use tokio::sync::oneshot;

    fn woken(woken: &Woken) -> Vec<u64> {
        let mut numbers = Vec::new();
        woken.take(&mut numbers, &Context::from_waker(noop_waker_ref()));
        numbers
    }

    #[test]
    fn who_was_woken_is_known_and_a_room_is_used_again() {
        let list = Arc::new(Woken::default());
        let (mut first, mut second) = (Flight::new(&list), Flight::new(&list));
        let (end, ended) = oneshot::channel();
        first.begin(1, async { ended.await.ok() });
        second.begin(2, ready(Some("at once")));
        assert_eq!(woken(&list), [2]);
        assert_eq!(second.poll(), Poll::Ready(Some("at once")));

        end.send("later").expect("it waits");
        assert_eq!(woken(&list), [1]);
        assert_eq!(first.poll(), Poll::Ready(Some("later")));
        first.begin(3, pending());
        assert_eq!((woken(&list), first.poll()), (vec![], Poll::Pending));
        first.begin(4, ready(None));
        assert_eq!((woken(&list), first.poll()), (vec![4], Poll::Ready(None)));
    }

    #[tokio::test]
    async fn who_polls_is_woken_by_the_first_and_finds_all() {
        let list = Arc::new(Woken::default());
        let (mut first, mut second) = (Flight::new(&list), Flight::new(&list));
        let (ends, ended): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel::<()>()).unzip();
        for (flight, (number, ended)) in [&mut first, &mut second].into_iter().zip((0..).zip(ended))
        {
            flight.begin(number, async { drop(ended.await) });
        }
        let waiting = poll_fn(|cx| {
            let mut numbers = Vec::new();
            list.take(&mut numbers, cx);
            if numbers.is_empty() { Poll::Pending } else { Poll::Ready(numbers) }
        });
        let ending = async {
            tokio::task::yield_now().await;
            ends.into_iter().for_each(|end| end.send(()).expect("it waits"));
        };
        assert_eq!(futures_util::future::join(waiting, ending).await.0, [0, 1]);
    }
}
