//! What is published in a transaction waits in the outbox, in order, until a relay has sent it.

use super::harness::{Note, StoreHarness, Write};
use super::work::{ENDPOINT, Work, handling, put};
use crate::kit::message::{message, message_id, queue_name};
use crate::kit::scene::WORK;
use crate::kit::time::{now, within};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tramline_core::Error;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Publishing;
use tramline_core::id::MessageId;
use tramline_core::name::QueueRef;
use tramline_core::store::{Condition, OutboxRow, ParkedRow, Refusal, Sighting, Store};
use tramline_core::transport::{Destination, Outgoing};

const LEASE: Duration = Duration::from_secs(60);
const MANY: u32 = 1_000;

pub async fn rows_are_claimed_in_order_with_what_was_published<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    assert_eq!(claimed(&store, MANY, soon()).await, [""; 0], "nothing in a new outbox");
    let scope = handling("parent", message("parent"), Publishing::Outbox);
    let writes = [note("first"), note("second"), put("x", 1)];
    Work::of(writes).under(scope).done(&harness, &store).await;
    append(&harness, &store, &[note("third")]).await;

    let rows = claim(&store, MANY, soon()).await;
    assert_eq!(texts(&rows), ["first", "second", "third"]);
    let first = &rows[0];
    assert_eq!(first.attempts, 0, "nobody tried to send it");
    let work = Destination::Queue(QueueRef::Main(queue_name(WORK)));
    assert_eq!(first.outgoing.to, work);
    assert_eq!(first.outgoing.copy, None);
    let envelope = &first.outgoing.envelope;
    let id = MessageId::derive(&message_id("parent"), ENDPOINT, 0);
    assert_eq!(envelope.id, Some(id));
    assert_eq!(envelope.causation_id, Some(message_id("parent")));
    assert_eq!(envelope.name.as_deref(), Some("conformance.noted"));
}

pub async fn a_transaction_that_does_not_commit_appends_nothing<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let fail = Write::Fail("no".to_owned());
    Work::of([note("failed"), fail]).failed(&harness, &store).await;
    let sighting = Sighting::new(&Arc::from(ENDPOINT), &message_id("m"), &message("m"));
    let admit = Condition::Admit(sighting);
    Work::of([note("first")]).provided([admit.clone()]).done(&harness, &store).await;
    let refused = Work::of([note("refused")]).provided([admit]).refused(&harness, &store).await;
    assert_eq!(refused, [(0, Refusal::Duplicate)]);
    assert_eq!(claimed(&store, MANY, soon()).await, ["first"]);
}

pub async fn a_claimed_row_is_its_claimers_until_the_lease_ends<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    append(&harness, &store, &[note("a"), note("b")]).await;
    let start = soon();
    let first = claim(&store, 1, start).await;
    assert_eq!(texts(&first), ["a"], "as many as the limit");
    assert_eq!(claimed(&other, MANY, start).await, ["b"]);
    let during = start.after(LEASE / 2);
    for handle in [&store, &other] {
        assert_eq!(claimed(handle, MANY, during).await, [""; 0], "leases are held");
    }
    let after = start.after(LEASE + Duration::from_secs(1));
    assert_eq!(claimed(&other, MANY, after).await, ["a", "b"]);

    // The first claimer is too late: the row is another's by now.
    sent(&store, &first).await;
    let later = after.after(LEASE + Duration::from_secs(1));
    assert_eq!(claimed(&store, MANY, later).await, ["a", "b"]);
}

pub async fn what_was_sent_is_gone<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    append(&harness, &store, &[note("a"), note("b"), note("c")]).await;
    let rows = claim(&store, 2, soon()).await;
    sent(&store, &rows).await;
    let after = soon().after(LEASE * 2);
    assert_eq!(claimed(&store, MANY, after).await, ["c"]);
    ok(store.outbox().sent(&[]).await);
}

pub async fn a_postponed_row_waits_for_its_time_and_counts_its_attempts<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    append(&harness, &store, &[note("a"), note("b")]).await;
    let start = soon();
    let row = claim(&store, 1, start).await.remove(0);
    let until = start.after(Duration::from_secs(10));
    ok(store.outbox().postpone(row.token, until, "broker away").await);
    let before = until.before(Duration::from_millis(1));
    assert_eq!(claimed(&store, MANY, before).await, ["b"], "without a key nothing waits behind");
    let again = claim(&store, MANY, until).await;
    assert_eq!(texts(&again), ["a"]);
    assert_eq!(again[0].attempts, 1);
}

pub async fn a_row_under_way_holds_back_its_key_and_no_other<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let writes = [keyed("k1", "k"), keyed("k2", "k"), keyed("j1", "j"), note("none")];
    append(&harness, &store, &writes).await;
    let start = soon();
    let first = claim(&store, 1, start).await;
    assert_eq!(texts(&first), ["k1"]);
    assert_eq!(claimed(&other, MANY, start).await, ["j1", "none"], "k is under way");
    sent(&store, &first).await;
    assert_eq!(claimed(&other, MANY, start).await, ["k2"], "k goes on");
}

pub async fn a_postponed_row_holds_back_its_key_and_no_other<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let writes = [keyed("k1", "k"), keyed("k2", "k"), keyed("j1", "j")];
    append(&harness, &store, &writes).await;
    let start = soon();
    let row = claim(&store, 1, start).await.remove(0);
    let until = start.after(LEASE * 3);
    ok(store.outbox().postpone(row.token, until, "broker away").await);
    let rest = claim(&store, MANY, start).await;
    assert_eq!(texts(&rest), ["j1"], "k2 must not overtake k1");
    sent(&store, &rest).await;
    // A relay that was told of k2 would ask for it again and again.
    assert_eq!(ok(store.outbox().next_due().await), Some(until));
    assert_eq!(claimed(&store, MANY, start.after(LEASE * 2)).await, [""; 0]);
    assert_eq!(claimed(&store, MANY, until).await, ["k1", "k2"]);
}

pub async fn a_parked_row_waits_for_its_release<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let outbox = store.outbox();
    append(&harness, &store, &[note("a"), note("b"), note("c")]).await;
    assert_eq!(ok(outbox.depth().await), (3, 0));
    let row = claim(&store, 1, soon()).await.remove(0);
    ok(outbox.park(row.token, "unknown exchange").await);
    assert_eq!(ok(outbox.depth().await), (2, 1));
    let rest = claim(&store, MANY, soon()).await;
    assert_eq!(texts(&rest), ["b", "c"]);
    sent(&store, &rest).await;
    assert_eq!(ok(outbox.depth().await), (0, 1));
    assert_eq!(claimed(&store, MANY, soon().after(LEASE * 2)).await, [""; 0]);

    assert_eq!(ok(outbox.release().await), 1);
    assert_eq!(ok(outbox.depth().await), (1, 0));
    assert_eq!(claimed(&store, MANY, soon()).await, ["a"]);
    assert_eq!(ok(outbox.release().await), 0, "nothing is parked any more");
}

pub async fn a_parked_row_holds_back_its_key_until_it_is_released_or_discarded<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let outbox = store.outbox();
    let writes = [keyed("k1", "k"), keyed("k2", "k"), keyed("k3", "k"), keyed("j1", "j")];
    append(&harness, &store, &writes).await;
    let first = claim(&store, 1, soon()).await.remove(0);
    ok(outbox.park(first.token, "unknown exchange").await);
    let rest = claim(&other, MANY, soon()).await;
    assert_eq!(texts(&rest), ["j1"], "k2 must not overtake k1");
    sent(&other, &rest).await;
    assert_eq!(ok(outbox.depth().await), (2, 1), "k2 and k3 wait");
    assert_eq!(ok(outbox.next_due().await), None, "and not for any clock");
    let parked = ok(outbox.parked(None, MANY).await);
    assert_eq!((parked.len(), parked[0].row, parked[0].attempts), (1, first.token.row, 1));
    assert!(parked[0].error.contains("unknown exchange"), "{:?}", parked[0].error);
    assert_eq!(parked[0].outgoing.as_ref(), Some(&first.outgoing));

    assert_eq!(ok(outbox.release().await), 1);
    let first = claim(&store, 1, soon()).await.remove(0);
    assert_eq!((text(&first).as_str(), first.attempts), ("k1", 0), "it begins anew");
    ok(outbox.park(first.token, "unknown exchange").await);
    let unknown = [first.token.row + 1, first.token.row];
    assert_eq!(ok(outbox.discard(&unknown).await), 1, "only what is parked is discarded");
    assert_eq!(ok(outbox.parked(None, MANY).await), []);
    assert_eq!(claimed(&other, MANY, soon()).await, ["k2", "k3"]);
}

pub async fn parked_rows_are_shown_in_order_a_page_at_a_time<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let outbox = store.outbox();
    append(&harness, &store, &[note("a"), note("b"), note("c")]).await;
    for row in claim(&store, MANY, soon()).await {
        ok(outbox.park(row.token, "no").await);
    }
    let text = |row: &ParkedRow| body(row.outgoing.as_ref().expect("it can be read"));
    let first = ok(outbox.parked(None, 2).await);
    assert_eq!(first.iter().map(text).collect::<Vec<_>>(), ["a", "b"]);
    let rest = ok(outbox.parked(Some(first[1].row), 2).await);
    assert_eq!(rest.iter().map(text).collect::<Vec<_>>(), ["c"]);
}

/// What stood behind a row that could not be sent was not tried, and is not charged.
pub async fn rows_given_back_wait_until_then_and_are_not_charged<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    append(&harness, &store, &[keyed("k1", "k"), keyed("k2", "k"), note("none")]).await;
    let start = soon();
    let rows = claim(&store, 2, start).await;
    assert_eq!(texts(&rows), ["k1", "k2"]);
    let until = start.after(Duration::from_secs(10));
    let tokens: Vec<_> = rows.iter().map(|row| row.token).collect();
    ok(store.outbox().give_back(&tokens, until).await);
    let before = until.before(Duration::from_millis(1));
    let rest = claim(&other, MANY, before).await;
    assert_eq!(texts(&rest), ["none"], "the others wait");
    let again = claim(&other, MANY, until).await;
    assert_eq!(texts(&again), ["k1", "k2"]);
    assert!(again.iter().all(|row| row.attempts == 0), "nothing was tried");
    // Their leases have ended: they are another relay's by now, and stay its.
    ok(store.outbox().give_back(&tokens, start).await);
    sent(&store, &rows).await;
    assert_eq!(claimed(&store, MANY, until).await, [""; 0]);
}

pub async fn the_next_due_moment_is_that_of_the_earliest_row<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let outbox = store.outbox();
    assert_eq!(ok(outbox.next_due().await), None, "no row waits");
    append(&harness, &store, &[note("a")]).await;
    let due = ok(outbox.next_due().await);
    assert!(due.is_some_and(|due| due <= soon()), "a new row is due: {due:?}");

    let row = claim(&store, 1, soon()).await.remove(0);
    let until = Timestamp::from_millis(now().after(LEASE).as_millis());
    ok(outbox.postpone(row.token, until, "broker away").await);
    assert_eq!(ok(outbox.next_due().await), Some(until));

    let row = claim(&store, 1, until).await.remove(0);
    ok(outbox.park(row.token, "unknown exchange").await);
    assert_eq!(ok(outbox.next_due().await), None, "a parked row waits for nobody's clock");
}

pub async fn appending_wakes_a_relay_before_and_after_it_waits<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    append(&harness, &store, &[note("a")]).await;
    let what = "`appended` to know what was appended before the call";
    within(harness.patience(), what, store.outbox().appended()).await;

    for text in ["b", "c"] {
        let mut appended = store.outbox().appended();
        // Polled once, so that it waits when the row comes; it may also end for nothing.
        let early = tokio::time::timeout(Duration::ZERO, &mut appended).await;
        append(&harness, &store, &[note(text)]).await;
        if early.is_err() {
            let what = "`appended` to end while it waits";
            within(harness.patience() / 10, what, appended).await;
        }
    }
}

pub async fn appending_wakes_a_relay_of_another_handle<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let mut appended = other.outbox().appended();
    let early = tokio::time::timeout(Duration::ZERO, &mut appended).await;
    append(&harness, &store, &[note("a")]).await;
    if early.is_err() {
        let what = "`appended` to end for a row of another handle";
        within(harness.patience(), what, appended).await;
    }
    assert_eq!(claimed(&other, MANY, soon()).await, ["a"]);
}

pub async fn rival_relays_never_claim_the_same_row<H: StoreHarness>(harness: H) {
    const ROWS: usize = 200;
    const RELAYS: usize = 4;
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let writes: Vec<Write> = (0..ROWS).map(|number| note(&format!("m{number}"))).collect();
    append(&harness, &store, &writes).await;
    let stores = [Arc::new(store), Arc::new(other)];
    let at = soon();
    let mut relays = JoinSet::new();
    for number in 0..RELAYS {
        let store = stores[number % 2].clone();
        relays.spawn(async move {
            let mut mine = Vec::new();
            // One more than there are is enough to see that a row comes twice.
            while mine.len() <= ROWS {
                let rows = claim(&*store, 7, at).await;
                if rows.is_empty() {
                    break;
                }
                mine.extend(texts(&rows));
            }
            mine
        });
    }
    let mut seen = BTreeSet::new();
    while let Some(mine) = relays.join_next().await {
        for text in mine.expect("a claim answers, it does not panic") {
            assert!(seen.insert(text.clone()), "two relays claimed {text}");
        }
    }
    assert_eq!(seen.len(), ROWS, "every row is claimed by somebody");
}

/// A process that dies between the commit and the send leaves the rows to another.
pub async fn a_crash_between_commit_and_send_loses_nothing<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    append(&harness, &store, &[note("claimed"), note("waiting")]).await;
    let start = soon();
    assert_eq!(claimed(&store, 1, start).await, ["claimed"]);
    let Some(store) = harness.restart(store).await else {
        return;
    };
    let after = start.after(LEASE * 2);
    assert_eq!(claimed(&store, MANY, after).await, ["claimed", "waiting"]);
}

/// A moment at which everything appended so far is due, whatever the store rounds.
fn soon() -> Timestamp {
    now().after(Duration::from_secs(1))
}

fn note(text: &str) -> Write {
    Write::Send(queue_name(WORK), Note::new(text))
}

fn keyed(text: &str, key: &str) -> Write {
    Write::Send(queue_name(WORK), Note::keyed(text, key))
}

async fn append<H: StoreHarness>(harness: &H, store: &H::Store, notes: &[Write]) {
    Work::of(notes.to_vec()).done(harness, store).await;
}

async fn claim(store: &impl Store, limit: u32, at: Timestamp) -> Vec<OutboxRow> {
    ok(store.outbox().claim(limit, LEASE, at).await)
}

/// The texts of the notes that a claim answers.
async fn claimed(store: &impl Store, limit: u32, at: Timestamp) -> Vec<String> {
    texts(&claim(store, limit, at).await)
}

async fn sent(store: &impl Store, rows: &[OutboxRow]) {
    let tokens: Vec<_> = rows.iter().map(|row| row.token).collect();
    ok(store.outbox().sent(&tokens).await);
}

fn texts(rows: &[OutboxRow]) -> Vec<String> {
    rows.iter().map(text).collect()
}

fn text(row: &OutboxRow) -> String {
    body(&row.outgoing)
}

/// What a note says, from its JSON.
fn body(outgoing: &Outgoing) -> String {
    let body = String::from_utf8_lossy(&outgoing.envelope.body).into_owned();
    let text = body.strip_prefix(r#"{"text":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
    text.unwrap_or_else(|| panic!("expected a note in the outbox, got: {body}")).to_owned()
}

fn ok<A>(answer: Result<A, Error>) -> A {
    answer.unwrap_or_else(|error| panic!("expected the outbox to answer, got: {error}"))
}
