//! What is left when nothing is to be done any more, and what must hold of it.

use serde::Deserialize;
use std::collections::BTreeSet;
use tramline::memory::store::Db;
use tramline::testing::Aftermath;
use tramline::{Envelope, Failure, Memory, Tx};

/// Adds 1 to the count of `what`, in the handler's transaction.
pub(super) fn count(tx: &Tx<Memory>, what: String) -> Result<(), Failure> {
    tx.write(move |db| {
        let times = db.get::<u32>(&what).unwrap_or_default();
        db.put(what.clone(), times + 1);
        Ok(())
    })
}

/// How often `what` was counted.
pub(super) fn counted(db: &Db<'_>, what: &str) -> u32 {
    db.get(what).unwrap_or_default()
}

/// The numbers of the messages that died in `queue`.
pub(super) fn dead(after: &Aftermath, queue: &str) -> BTreeSet<u32> {
    dead_of(after, queue, |_| true)
}

/// … that died for such a reason.
pub(super) fn dead_of(
    after: &Aftermath,
    queue: &str,
    reason: impl Fn(&str) -> bool,
) -> BTreeSet<u32> {
    let letters = after.dead_letters(queue);
    let letters = letters
        .filter(|letter| letter.death.as_ref().is_some_and(|death| reason(death.reason.as_str())));
    letters.filter_map(|letter| number(&letter.envelope)).collect()
}

/// The numbers of the messages that wait in `queue` or are at work.
pub(super) fn queued(after: &Aftermath, queue: &str) -> BTreeSet<u32> {
    after.queued(queue).iter().filter_map(|queued| number(&queued.envelope)).collect()
}

/// The number of a message.
pub(super) fn number(envelope: &Envelope) -> Option<u32> {
    #[derive(Deserialize)]
    struct Numbered {
        n: u32,
    }
    Some(serde_json::from_slice::<Numbered>(&envelope.body).ok()?.n)
}

/// Each of the orders was counted once as `what`, or is dead in `queue`, and none more often.
pub(super) fn check_once(
    db: &Db<'_>,
    dead: &BTreeSet<u32>,
    what: &str,
    orders: impl IntoIterator<Item = u32>,
) -> Result<(), String> {
    for n in orders {
        let times = counted(db, &format!("{what} {n}"));
        if times > 1 {
            return Err(format!("order {n} was {what} {times} times"));
        }
        if times == 0 && !dead.contains(&n) {
            return Err(format!("order {n} was not {what}, and is not dead"));
        }
    }
    Ok(())
}

/// Nothing was counted more than once, at whatever moment.
pub(super) fn check_none_twice(db: &Db<'_>) -> Result<(), String> {
    match db.entries::<u32>().into_iter().find(|(_, times)| *times > 1) {
        Some((what, times)) => Err(format!("{what}: {times} times")),
        None => Ok(()),
    }
}

/// What was handled of each key came in the order of its numbers, and nothing of it twice.
pub(super) fn check_in_order(db: &Db<'_>) -> Result<(), String> {
    let handled = db.entries::<Vec<u32>>();
    match handled.iter().find(|(_, handled)| !handled.is_sorted_by(|one, next| one < next)) {
        Some((key, handled)) => Err(format!("those of key {key} came as {handled:?}")),
        None => Ok(()),
    }
}
