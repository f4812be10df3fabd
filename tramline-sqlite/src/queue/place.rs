//! A message is written: its body once, and a row in each queue that gets it.

use super::admit::{Admitted, admit};
use super::parcel::Parcel;
use super::promote::promote_before;
use super::routes::{Leg, Legs, Queue};
use super::sql::{DIRECT, tail};
use super::{lane, length, unique};
use crate::writer::Work;
use rusqlite::{ToSql, params};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::dead::Reason;
use tramline_core::name::QueueName;
use tramline_core::transport::Destination;
use tramline_core::{Error, ErrorKind};

/// What became of a message.
#[derive(Clone, Debug)]
pub(crate) enum Placed {
    /// So many queues have it, or have had it.
    In(usize),
    /// This queue has no room. No queue has it.
    Full(QueueName),
    /// A newer program declared this queue. No queue has it.
    Unknown(Arc<Queue>),
    /// The queue that it names was not declared.
    NoSuchQueue,
}

/// Writes one message. `routed` is where it goes as the caller saw it at some version of the
/// routes; it is looked up again if that is not the version of this transaction.
pub(crate) fn place(
    work: &Work<'_>,
    parcel: &Parcel,
    routed: Option<&(i64, Option<Legs>)>,
    flags: i64,
) -> rusqlite::Result<Placed> {
    let routes = work.routes();
    let looked_up;
    let legs = match routed {
        Some((version, legs)) if *version == routes.version => legs,
        _ => {
            looked_up = routes.legs(&parcel.to, &parcel.envelope);
            &looked_up
        }
    };
    let Some(legs) = legs else { return Ok(Placed::NoSuchQueue) };
    let queues = legs.len();
    let admitted;
    let legs = if parcel.is_judged() && legs.iter().any(|leg| leg.is_particular) {
        match admit(work, parcel, legs)? {
            Admitted::By(legs) => admitted = legs,
            Admitted::Full(queue) => return Ok(Placed::Full(queue)),
            Admitted::Unknown(queue) => return Ok(Placed::Unknown(queue)),
        }
        &admitted
    } else {
        legs
    };
    if legs.is_empty() {
        return Ok(Placed::In(queues));
    }
    let seq = write_body(work, legs.len(), &parcel.text, &parcel.envelope.body)?;
    let now = work.now();
    for leg in legs {
        if parcel.is_dead() {
            write_dead(work, parcel, *leg, seq, now, flags)?;
            work.wake(leg.queue);
            continue;
        }
        let queue = if leg.is_particular { work.particular(leg.queue) } else { None };
        if let Some(queue) = &queue {
            length::grow(work, queue, 1)?;
            unique::hold(work, queue, seq, parcel.envelope.key.as_deref())?;
        }
        if let Some(due) = parcel.due.filter(|due| *due > now) {
            write_delayed(work, parcel, *leg, seq, due, flags)?;
        } else if let Some(queue) = &queue
            && stands_behind(work, parcel, queue, *leg, seq, now, flags)?
        {
            continue;
        } else {
            write_ready(work, parcel, *leg, seq, now, flags)?;
        }
        work.wake(leg.queue);
    }
    Ok(Placed::In(queues))
}

/// The error of a message that a queue had no room for.
pub(crate) fn full(to: &Destination, queue: &QueueName) -> Error {
    let why = format!("queue {queue} is at its maximum length; there is room once some is handled");
    Error::new(ErrorKind::Full, format!("send to {to}")).because(why)
}

/// Writes envelope and body, which `refs` queues share. Answers the place in their order.
pub(crate) fn write_body(
    work: &Work<'_>,
    refs: usize,
    text: &str,
    body: &[u8],
) -> rusqlite::Result<i64> {
    work.connection
        .prepare_cached("INSERT INTO tramline_body (refs, envelope, body) VALUES (?1, ?2, ?3)")?
        .execute(params![refs as i64, text, body])?;
    Ok(work.connection.last_insert_rowid())
}

/// Puts a message behind the one that is out of its lane, if there is one. Answers whether it did.
fn stands_behind(
    work: &Work<'_>,
    parcel: &Parcel,
    queue: &Queue,
    leg: Leg,
    seq: i64,
    now: Timestamp,
    flags: i64,
) -> rusqlite::Result<bool> {
    const SQL: &str = concat!(
        "INSERT INTO tramline_behind (queue, seq, lane, place, ",
        tail!(),
        ") VALUES (?12, ?13, ?14, ?15, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    let Some(lane) = queue.lane(parcel.envelope.key.as_deref()) else { return Ok(false) };
    promote_before(work, queue)?;
    if lane::lead(work, leg.queue, lane, seq)? {
        return Ok(false);
    }
    let place = lane::last_place(work, leg.queue, lane)?;
    insert(work, SQL, parcel, leg, now, flags, &[&leg.queue, &seq, &lane, &place])?;
    Ok(true)
}

fn write_ready(
    work: &Work<'_>,
    parcel: &Parcel,
    leg: Leg,
    seq: i64,
    now: Timestamp,
    flags: i64,
) -> rusqlite::Result<()> {
    const SQL: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") VALUES (?12, ?13, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    insert(work, SQL, parcel, leg, now, flags, &[&leg.queue, &seq])
}

fn write_delayed(
    work: &Work<'_>,
    parcel: &Parcel,
    leg: Leg,
    seq: i64,
    due: Timestamp,
    flags: i64,
) -> rusqlite::Result<()> {
    const SQL: &str = concat!(
        "INSERT INTO tramline_delayed (queue, seq, due, ",
        tail!(),
        ") VALUES (?12, ?13, ?14, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    insert(work, SQL, parcel, leg, due, flags, &[&leg.queue, &seq, &due.as_micros()])
}

fn write_dead(
    work: &Work<'_>,
    parcel: &Parcel,
    leg: Leg,
    seq: i64,
    now: Timestamp,
    flags: i64,
) -> rusqlite::Result<()> {
    const SQL: &str = concat!(
        "INSERT INTO tramline_dead (queue, seq, name, reason, failed_at, ",
        tail!(),
        ") VALUES (?12, ?13, ?14, ?15, ?16, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    let name = parcel.envelope.name.as_deref().unwrap_or_default();
    let reason = parcel.state.reason.as_ref().map_or("sent", Reason::as_str);
    let own: [&dyn ToSql; 5] = [&leg.queue, &seq, &name, &reason, &now.as_micros()];
    insert(work, SQL, parcel, leg, now, flags, &own)
}

/// Binds the columns that every state has, in their order, and then the `own` of one.
fn insert(
    work: &Work<'_>,
    sql: &str,
    parcel: &Parcel,
    leg: Leg,
    since: Timestamp,
    flags: i64,
    own: &[&dyn ToSql],
) -> rusqlite::Result<()> {
    let state = &parcel.state;
    let micros = |moment: Timestamp| moment.as_micros();
    let mut statement = work.connection.prepare_cached(sql)?;
    let mut bind = |index, value: &dyn ToSql| statement.raw_bind_parameter(index, value);
    bind(1, &leg.rank)?;
    bind(2, &since.as_micros())?;
    bind(3, &(flags | if state.is_direct { DIRECT } else { 0 }))?;
    bind(4, &state.failures)?;
    bind(5, &0)?;
    bind(6, &state.marks.trials)?;
    bind(7, &state.marks.unhandled_since.map(micros))?;
    bind(8, &state.first_failed_at.map(micros))?;
    bind(9, &parcel.envelope.expires_at.map(micros))?;
    bind(10, &parcel.envelope.key)?;
    bind(11, &state.history)?;
    for (index, value) in own.iter().enumerate() {
        bind(12 + index, value)?;
    }
    statement.raw_execute().map(|_| ())
}
