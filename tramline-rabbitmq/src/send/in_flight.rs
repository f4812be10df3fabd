//! The publications that wait for their end, in rooms that are used again.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio_util::sync::ReusableBoxFuture;

/// How many rooms are kept for later.
const SPARE_MAX: usize = 1024;

/// What one task waits for, each thing to end with an `E`.
pub(super) struct InFlight<E> {
    flights: FuturesUnordered<Flight<E>>,
    spare: Vec<Room<E>>,
    notice: Option<Notice>,
}

/// Where a future is kept: the client's is larger than a kilobyte, with which allocators are slow, so
/// the next one uses its room again.
type Room<E> = ReusableBoxFuture<'static, E>;

impl<E: 'static> InFlight<E> {
    /// Nothing is.
    pub(super) fn new() -> Self {
        Self { flights: FuturesUnordered::new(), spare: Vec::new(), notice: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Begins when [`ended`](Self::ended) is polled next.
    pub(super) fn push(&mut self, one: impl Future<Output = E> + Send + 'static) {
        let room = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(one);
                spare
            }
            None => Room::new(one),
        };
        self.flights.push(Flight(Some(room)));
    }

    /// Ends when one has ended, and adds all to `endings` that have by then: not one is left out that
    /// ended before one that is told. Cancel-safe.
    pub(super) async fn ended(&mut self, endings: &mut Vec<E>) {
        poll_fn(|cx| {
            let same = self.notice.take().filter(|notice| notice.is_for(cx.waker()));
            let notice = self.notice.insert(same.unwrap_or_else(|| Notice::of(cx.waker().clone())));
            loop {
                match self.flights.poll_next_unpin(&mut notice.context()) {
                    Poll::Ready(Some((one, room))) => {
                        endings.push(one);
                        if self.spare.len() < SPARE_MAX {
                            self.spare.push(room);
                        }
                    }
                    // It wakes its task when it gives way though there is more.
                    Poll::Pending if notice.was_given() => {}
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            if endings.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

/// One that has not ended. Leaves its room behind.
struct Flight<E>(Option<Room<E>>);

impl<E> Future for Flight<E> {
    type Output = (E, Room<E>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut room = self.0.take().expect("it is not polled after its end");
        match room.poll(cx) {
            Poll::Ready(ended) => Poll::Ready((ended, room)),
            Poll::Pending => {
                self.0 = Some(room);
                Poll::Pending
            }
        }
    }
}

/// Tells whether its waker was used. One serves a task for as long as that lives.
struct Notice {
    woken: Arc<Woken>,
    waker: Waker,
}

/// Notices a wake-up, and passes it on.
struct Woken {
    by: AtomicBool,
    task: Waker,
}

impl Notice {
    fn of(task: Waker) -> Self {
        let woken = Arc::new(Woken { by: AtomicBool::new(false), task });
        Self { waker: Waker::from(woken.clone()), woken }
    }

    fn is_for(&self, task: &Waker) -> bool {
        self.woken.task.will_wake(task)
    }

    /// To be polled with; nothing was noticed yet.
    fn context(&self) -> Context<'_> {
        self.woken.by.store(false, Ordering::Release);
        Context::from_waker(&self.waker)
    }

    fn was_given(&self) -> bool {
        self.woken.by.load(Ordering::Acquire)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.by.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::{pending, ready};
    use tokio::sync::oneshot;

    #[test]
    fn all_are_told_that_have_ended_and_rooms_are_used_again() {
        // More than are polled in one turn.
        const MANY: usize = 200;
        let mut in_flight = InFlight::new();
        in_flight.push(pending());
        (0..MANY).for_each(|number| in_flight.push(ready(number)));
        let mut endings = Vec::new();
        assert!(in_flight.ended(&mut endings).now_or_never().is_some());
        endings.sort_unstable();
        assert!(endings.iter().copied().eq(0..MANY), "{endings:?}");
        assert_eq!(in_flight.spare.len(), MANY);

        let mut endings = Vec::new();
        assert!(in_flight.ended(&mut endings).now_or_never().is_none());
        in_flight.push(ready(MANY));
        assert_eq!(in_flight.spare.len(), MANY - 1);
        assert!(in_flight.ended(&mut endings).now_or_never().is_some());
        assert!(endings == [MANY] && !in_flight.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_end_of_one() {
        let (mut in_flight, mut endings) = (InFlight::new(), Vec::new());
        let (end, ended) = oneshot::channel();
        in_flight.push(async { ended.await.ok() });
        let waiting = async {
            in_flight.ended(&mut endings).await;
            endings.pop().flatten()
        };
        let ending = async {
            tokio::task::yield_now().await;
            end.send(7).ok()
        };
        assert_eq!(futures_util::future::join(waiting, ending).await, (Some(7), Some(())));
    }
}
