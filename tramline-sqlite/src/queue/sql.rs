//! The columns that a message has in every state, so that it moves between tables by one
//! `INSERT … SELECT`.

/// What every state keeps. Each macro is a literal, for `concat!`.
macro_rules! tail {
    () => {
        "rank, since, flags, failures, deliveries, trials, unhandled_since, first_failed_at, \
         expires_at, key, history"
    };
}

/// [`tail`] with one delivery more than before.
macro_rules! tail_delivered {
    () => {
        "rank, since, flags, failures, deliveries + 1, trials, unhandled_since, first_failed_at, \
         expires_at, key, history"
    };
}

/// [`tail`] without the delivery at hand, whose end is known: it was returned.
macro_rules! tail_returned {
    () => {
        "rank, since, flags, failures, max(deliveries - 1, 0), trials, unhandled_since, \
         first_failed_at, expires_at, key, history"
    };
}

/// [`tail`] of what leaves the queue by itself: nobody died of it.
macro_rules! tail_undelivered {
    () => {
        "rank, since, flags, failures, 0, trials, unhandled_since, first_failed_at, expires_at, \
         key, history"
    };
}

pub(crate) use {tail, tail_delivered, tail_returned, tail_undelivered};

/// Published inside a transaction of this database.
pub(crate) const BORN_HERE: i64 = 1;
/// It did not come straight through a topic: a copy, a retry or a redrive.
pub(crate) const DIRECT: i64 = 2;
