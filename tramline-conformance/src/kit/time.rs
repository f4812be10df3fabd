//! Time as scenarios see it: the machine's own.

use std::time::Duration;
use tramline_core::clock::{Clock, SystemClock, Timestamp};

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// The moment `wait` from now as a whole millisecond, which is how exactly brokers count.
pub(crate) fn due_in(wait: Duration) -> Timestamp {
    Timestamp::from_millis(now().after(wait).as_millis())
}

/// Waits for the clock to show `at`: for moments that are the event itself, such as an expiry.
pub(crate) async fn until(at: Timestamp) {
    SystemClock.sleep_until(at).await;
}

/// The answer of `event`, which must come within `patience`.
pub(crate) async fn within<T>(patience: Duration, what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, event).await {
        Ok(answer) => answer,
        Err(_) => panic!("expected {what}; nothing came within {patience:?}"),
    }
}
