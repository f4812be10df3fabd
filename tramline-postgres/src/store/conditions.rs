//! Conditions as columns, and what is answered to them.

use super::schedules::Changes;
use std::borrow::Cow;
use tramline_core::store::{Condition, DatabaseId, Refusal, Sighting};
use tramline_core::transport::Ticket;
use tramline_core::{Error, ErrorKind, Result};

/// What a transaction asks for, in columns.
#[derive(Default)]
pub(super) struct Asked<'c> {
    pub(super) acks: Acks,
    pub(super) sightings: Sightings<'c>,
    pub(super) changes: Changes<'c>,
    ack_indices: Vec<usize>,
    sighting_indices: Vec<usize>,
    change_indices: Vec<usize>,
}

/// The deliveries that are acked.
#[derive(Default)]
pub(super) struct Acks {
    pub(super) queues: Vec<i32>,
    pub(super) places: Vec<i64>,
    pub(super) epochs: Vec<i32>,
}

/// The messages that endpoints handle.
#[derive(Default)]
pub(super) struct Sightings<'c> {
    pub(super) endpoints: Vec<Cow<'c, str>>,
    pub(super) messages: Vec<Cow<'c, str>>,
    pub(super) keys: Vec<Cow<'c, str>>,
    pub(super) ids: Vec<String>,
    pub(super) hashes: Vec<i64>,
    pub(super) keyed: Vec<bool>,
}

impl<'c> Asked<'c> {
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: a ticket is of another database. Others: a schedule cannot be written down.
    pub(super) fn of(
        database: &DatabaseId,
        conditions: impl IntoIterator<Item = &'c Condition>,
    ) -> Result<Self> {
        let mut asked = Self::default();
        for (index, condition) in conditions.into_iter().enumerate() {
            match condition {
                Condition::Ack(ticket) => {
                    asked.acks.add(database, ticket)?;
                    asked.ack_indices.push(index);
                }
                Condition::Admit(sighting) => {
                    asked.sightings.add(sighting);
                    asked.sighting_indices.push(index);
                }
                Condition::Due { .. } | Condition::Tick { .. } | Condition::Plan(_) => {
                    asked.changes.add_of(condition)?;
                    asked.change_indices.push(index);
                }
            }
        }
        Ok(asked)
    }

    /// The conditions that did not hold, by their indices: acks that were lost and schedules that are not as they
    /// were, both counted from 1, and what the inbox said of each sighting.
    pub(super) fn refused(
        &self,
        lost: &[i32],
        known: &[i32],
        changed: &[i32],
    ) -> Vec<(usize, Refusal)> {
        let lost = nths(&self.ack_indices, lost, Refusal::LeaseLost);
        let changed = nths(&self.change_indices, changed, Refusal::Changed);
        let known = self.sighting_indices.iter().zip(known);
        let known = known.filter_map(|(index, known)| Some((*index, refusal(*known)?)));
        let mut refused: Vec<_> = lost.chain(known).chain(changed).collect();
        refused.sort_by_key(|(index, _)| *index);
        refused
    }
}

fn nths(
    indices: &[usize],
    nths: &[i32],
    refusal: Refusal,
) -> impl Iterator<Item = (usize, Refusal)> {
    nths.iter().filter_map(move |nth| {
        let index = indices.get(usize::try_from(*nth).ok()?.checked_sub(1)?)?;
        Some((*index, refusal))
    })
}

impl Acks {
    fn add(&mut self, database: &DatabaseId, ticket: &Ticket) -> Result<()> {
        if ticket.database != *database {
            let doing = format!("ack a message of {}", ticket.database);
            let why = format!("this is {database}");
            return Err(Error::new(ErrorKind::Misconfigured, doing).because(why));
        }
        let (queue, epoch) = (i32::try_from(ticket.queue), i32::try_from(ticket.token));
        // No ticket of ours has others; 0 is no queue.
        self.queues.push(queue.unwrap_or(0));
        self.places.push(ticket.row);
        self.epochs.push(epoch.unwrap_or(-1));
        Ok(())
    }
}

impl<'c> Sightings<'c> {
    pub(super) fn of(sightings: &'c [Sighting]) -> Self {
        let mut columns = Self::default();
        sightings.iter().for_each(|sighting| columns.add(sighting));
        columns
    }

    fn add(&mut self, sighting: &'c Sighting) {
        let Sighting { key, id, body_hash, keyed } = sighting;
        self.endpoints.push(without_nul(&key.endpoint));
        self.messages.push(without_nul(&key.message));
        self.keys.push(without_nul(&key.key));
        self.ids.push(without_nul(&id.to_string()).into_owned());
        self.hashes.push(*body_hash);
        self.keyed.push(*keyed);
    }
}

/// What `tramline.admit` says of one message.
pub(super) fn refusal(known: i32) -> Option<Refusal> {
    match known {
        0 => None,
        1 => Some(Refusal::Duplicate),
        2 => Some(Refusal::KeyReused),
        _ => Some(Refusal::Busy),
    }
}

/// A text as PostgreSQL can keep it, which has no NUL: different texts stay different.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    const ESCAPED: char = '\u{1}';
    if text.contains('\0') || text.starts_with(ESCAPED) {
        let escaped = text.replace('\\', "\\\\").replace('\0', "\\0");
        return Cow::Owned(format!("{ESCAPED}{escaped}"));
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use tramline_core::clock::Timestamp;
    use tramline_core::envelope::Envelope;
    use tramline_core::store::ScheduleKey;

    fn admit(id: &str) -> Condition {
        let id = id.parse().unwrap();
        Condition::Admit(Sighting::new(&Arc::from("payment"), &id, &Envelope::default()))
    }

    fn ack(database: &DatabaseId) -> Condition {
        let database = database.clone();
        Condition::Ack(Ticket { database, queue: 1, row: 2, token: 3, born_here: false })
    }

    #[test]
    fn refusals_are_told_by_the_index_of_their_condition() {
        let here = DatabaseId::new("here");
        let conditions = [admit("a"), ack(&here), admit("b"), ack(&here), admit("c")];
        let asked = Asked::of(&here, &conditions).unwrap();
        assert_eq!(asked.refused(&[], &[0, 0, 0], &[]), []);
        let expected = [
            (0, Refusal::Duplicate),
            (2, Refusal::KeyReused),
            (3, Refusal::LeaseLost),
            (4, Refusal::Busy),
        ];
        assert_eq!(asked.refused(&[2], &[1, 2, 3], &[]), expected);
    }

    #[test]
    fn schedules_are_counted_apart_and_told_by_the_index_of_their_condition() {
        let here = DatabaseId::new("here");
        let due = |name: &str| Condition::Due {
            key: ScheduleKey { name: name.to_owned(), token: 1 },
            now: Timestamp::from_micros(0),
        };
        let conditions = [due("a"), admit("m"), due("b"), ack(&here)];
        let asked = Asked::of(&here, &conditions).unwrap();
        let expected = [(1, Refusal::Duplicate), (2, Refusal::Changed), (3, Refusal::LeaseLost)];
        assert_eq!(asked.refused(&[1], &[1], &[2]), expected);
    }

    #[test]
    fn a_schedule_with_a_nul_in_its_name_is_refused() {
        let key = ScheduleKey { name: "a\0".to_owned(), token: 1 };
        let conditions = [Condition::Due { key, now: Timestamp::from_micros(0) }];
        let error = Asked::of(&DatabaseId::new("here"), &conditions).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_ticket_of_another_database_is_an_error_that_names_both() {
        let conditions = [ack(&DatabaseId::new("there"))];
        let error = Asked::of(&DatabaseId::new("here"), &conditions).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        let text = error.to_string();
        assert!(text.contains("there") && text.contains("here"), "{text}");
    }

    #[test]
    fn texts_with_a_nul_stay_different_from_all_others() {
        let texts = ["", "a", "a\0", "a\\0", "\u{1}a", "\u{1}a\\0", "\u{1}a\0", "a\0\\", "a\\\0"];
        let kept: BTreeSet<String> =
            texts.iter().map(|text| without_nul(text).into_owned()).collect();
        assert_eq!(kept.len(), texts.len());
        assert!(kept.iter().all(|text| !text.contains('\0')));
    }
}
