//! What changes schedules, as columns.

use crate::queue::refuse_what_cannot_be_kept;
use tokio_postgres::types::ToSql;
use tramline_core::clock::Timestamp;
use tramline_core::rows::{write_destination, write_envelope};
use tramline_core::store::{
    Change, Condition, NAME_KEPT, Plan, Planned, RecurringRow, ScheduleKey,
};
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Result};

/// Plans, firings and ticks in their order, in the columns of `tramline.change_schedules`.
#[derive(Default)]
pub(in crate::store) struct Changes<'c> {
    pub(in crate::store) kinds: Vec<i32>,
    pub(in crate::store) names: Vec<&'c str>,
    pub(in crate::store) tokens: Vec<i64>,
    pub(in crate::store) moments: Vec<i64>,
    pub(in crate::store) dues: Vec<i64>,
    pub(in crate::store) texts: Vec<Option<String>>,
    pub(in crate::store) envelopes: Vec<Option<String>>,
    pub(in crate::store) bodies: Vec<Option<&'c [u8]>>,
    pub(in crate::store) flags: Vec<bool>,
}

/// What is done to a schedule, as `tramline.change_schedules` calls it.
const PUT: i32 = 0;
const CANCEL: i32 = 1;
const FIRE: i32 = 2;
const RECUR: i32 = 3;
const PAUSE: i32 = 4;
const TICK: i32 = 5;

/// One row, as far as it is not the same for all kinds.
#[derive(Default)]
struct Row<'c> {
    token: i64,
    moment: i64,
    due: i64,
    text: Option<String>,
    envelope: Option<String>,
    body: Option<&'c [u8]>,
    flag: bool,
}

impl<'c> Changes<'c> {
    /// What a condition asks of a schedule, if it does.
    ///
    /// # Errors
    /// A text has a NUL, or the message cannot be written down.
    pub(in crate::store) fn add_of(&mut self, condition: &'c Condition) -> Result<()> {
        match condition {
            Condition::Due { key, now } => self.fire(key, *now),
            Condition::Tick { row, next } => self.tick(row, *next),
            Condition::Plan(plan) => self.plan(plan),
            Condition::Ack(_) | Condition::Admit(_) => Ok(()),
        }
    }

    /// # Errors
    /// A text has a NUL, or the message cannot be written down.
    pub(super) fn plan(&mut self, plan: &'c Plan) -> Result<()> {
        let (now, moment) = (plan.now, plan.now.as_micros());
        let (kind, row) = match &plan.change {
            Change::Put { token, due, outgoing, anew } => {
                let put = Row { token: *token, moment, due: due.as_micros(), ..Row::default() };
                (PUT, Row { flag: *anew, ..put }.with(outgoing)?)
            }
            Change::Cancel => {
                let due = now.after(NAME_KEPT).as_micros();
                (CANCEL, Row { moment, due, ..Row::default() })
            }
            Change::Recur { token, rhythm, due } => {
                let (due, text) = (due.as_micros(), Some(rhythm.clone()));
                (RECUR, Row { token: *token, due, text, ..Row::default() })
            }
            Change::Pause(is_paused) => (PAUSE, Row { flag: *is_paused, ..Row::default() }),
        };
        self.add(kind, &plan.name, row)
    }

    fn fire(&mut self, key: &'c ScheduleKey, now: Timestamp) -> Result<()> {
        let due = now.after(NAME_KEPT).as_micros();
        self.add(FIRE, &key.name, Row { token: key.token, due, ..Row::default() })
    }

    fn tick(&mut self, was: &'c RecurringRow, next: Timestamp) -> Result<()> {
        let RecurringRow { name, token, rhythm, due, is_paused } = was;
        let (moment, due) = (next.as_micros(), due.as_micros());
        let text = Some(rhythm.to_string());
        let row = Row { token: *token, moment, due, text, flag: *is_paused, ..Row::default() };
        self.add(TICK, name, row)
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// In the order of the parameters of `tramline.change_schedules`.
    pub(in crate::store) fn parameters(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.kinds,
            &self.names,
            &self.tokens,
            &self.moments,
            &self.dues,
            &self.texts,
            &self.envelopes,
            &self.bodies,
            &self.flags,
        ]
    }

    fn add(&mut self, kind: i32, name: &'c str, row: Row<'c>) -> Result<()> {
        refuse_nul(name, name)?;
        refuse_nul(name, row.text.as_deref().unwrap_or_default())?;
        self.kinds.push(kind);
        self.names.push(name);
        self.tokens.push(row.token);
        self.moments.push(row.moment);
        self.dues.push(row.due);
        self.texts.push(row.text);
        self.envelopes.push(row.envelope);
        self.bodies.push(row.body);
        self.flags.push(row.flag);
        Ok(())
    }
}

impl<'c> Row<'c> {
    fn with(self, outgoing: &'c Outgoing) -> Result<Self> {
        let Outgoing { to, envelope, .. } = outgoing;
        refuse_what_cannot_be_kept(to, envelope)?;
        let (text, body) = (Some(write_destination(to)?), Some(&envelope.body[..]));
        Ok(Self { text, envelope: Some(write_envelope(envelope)?), body, ..self })
    }
}

/// Escaped, names would not be in the order of their bytes.
pub(super) fn refuse_nul(name: &str, text: &str) -> Result<()> {
    if !text.contains('\0') {
        return Ok(());
    }
    let why = "PostgreSQL keeps no text with a NUL in it, as its name or rhythm is";
    Err(Error::new(ErrorKind::Refused, format!("change the schedule {name:?}")).because(why))
}

/// What is answered to a plan for which `tramline.change_schedules` has answered this.
pub(super) fn planned(change: &Change, answer: i32) -> Planned {
    match (change, answer) {
        (Change::Cancel, 4) => Planned::TooLate,
        (Change::Cancel, 2) => Planned::Cancelled,
        (Change::Cancel, _) => Planned::NotYetKnown,
        (_, 0) => Planned::Done,
        (Change::Put { .. }, _) => Planned::AlreadyCancelled,
        (Change::Recur { .. } | Change::Pause(_), _) => Planned::NotFound,
    }
}
