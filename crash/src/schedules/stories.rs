//! What becomes of one name: scheduled, cancelled, overtaken, replaced, planned by a handler.

use super::message::{Ask, Asked, Remind, Step, name, number, story_of};
use super::notes::{Note, Notes};
use super::planner::Act;
use super::service::PLANNING;
use crate::dice::Dice;
use std::ops::Range;
use std::time::{Duration, Instant};
use tramline::Failure;
use tramline::schedules::{Cancelled, Scheduled};

/// When something is due, and when it is cancelled or replaced: before that, behind it, or just then.
const SOON: Range<u64> = 0..60;
/// When what is not to fire in this case is due.
const FAR: Duration = Duration::from_secs(3600);

/// Tells one story after the other.
pub(super) struct Teller<'a> {
    act: &'a Act<'a>,
    notes: Notes,
    dice: Dice,
    next: u64,
}

impl<'a> Teller<'a> {
    /// The stories are counted from `first` on.
    pub(super) fn new(act: &'a Act<'a>, notes: Notes, dice: Dice, first: u64) -> Self {
        Self { act, notes, dice, next: first }
    }

    pub(super) async fn tell(&mut self) -> Result<(), Failure> {
        while !self.act.is_enough() {
            let story = self.next;
            self.next += 1;
            match self.dice.below(100) {
                0..15 => {
                    let due = self.soon();
                    self.keep(story, due).await?;
                }
                15..45 => self.cancel(story).await?,
                45..55 => self.overtake(story).await?,
                55..80 => self.replace(story).await?,
                _ => self.ask(story).await?,
            }
        }
        Ok(())
    }

    /// Schedules something that fires, and answers whether that is known.
    async fn keep(&mut self, story: u64, due: Duration) -> Result<bool, Failure> {
        let first = number(story, Step::First);
        let is_done = self.schedule(first, due).await? == Some(Scheduled::Done);
        if is_done {
            self.notes.add(Note::Scheduled, first)?;
        }
        Ok(is_done)
    }

    async fn cancel(&mut self, story: u64) -> Result<(), Failure> {
        let due = self.soon();
        if !self.keep(story, due).await? {
            return Ok(());
        }
        tokio::time::sleep(self.soon()).await;
        let first = number(story, Step::First);
        self.notes.add(Note::Cancelling, first)?;
        match self.cancelled(story).await? {
            Some(Cancelled::Cancelled) => self.notes.add(Note::Cancelled, first)?,
            Some(Cancelled::TooLate) => self.notes.add(Note::Late, first)?,
            Some(Cancelled::NotYetKnown) => return Err(astonished(story, "is not known")),
            None => {}
        }
        Ok(())
    }

    async fn overtake(&mut self, story: u64) -> Result<(), Failure> {
        match self.cancelled(story).await? {
            Some(Cancelled::NotYetKnown) => {}
            Some(_) => return Err(astonished(story, "was known before it was scheduled")),
            None => return Ok(()),
        }
        let first = number(story, Step::First);
        // Whatever becomes of this process.
        self.notes.add(Note::Never, first)?;
        let due = self.soon();
        match self.schedule(first, due).await? {
            Some(Scheduled::Done) => Err(astonished(story, "was scheduled, although cancelled")),
            _ => Ok(()),
        }
    }

    async fn replace(&mut self, story: u64) -> Result<(), Failure> {
        let [first, second] = [Step::First, Step::Second].map(|step| number(story, step));
        let begun = Instant::now();
        let is_far = self.dice.percent(50);
        let due = if is_far { FAR } else { self.soon() };
        let is_scheduled = if is_far {
            // It is not to be missed if this process dies before it has replaced it.
            self.schedule(first, due).await?.is_some()
        } else {
            self.keep(story, due).await?
        };
        if !is_scheduled {
            return Ok(());
        }
        tokio::time::sleep(self.soon()).await;
        self.notes.add(Note::Replacing, first)?;
        let earliest = due;
        let due = self.soon();
        match self.schedule(second, due).await? {
            Some(Scheduled::Done) => {}
            Some(_) => return Err(astonished(story, "is cancelled, which nobody has done")),
            None => return Ok(()),
        }
        if begun.elapsed() < earliest {
            self.notes.add(Note::ReplacedInTime, first)?;
        }
        Ok(self.notes.add(Note::Scheduled, second)?)
    }

    async fn ask(&mut self, story: u64) -> Result<(), Failure> {
        let kind = Asked::ALL[self.dice.below(Asked::ALL.len() as u64) as usize];
        let millis = self.dice.below(SOON.end);
        match kind {
            Asked::Dies => {
                for step in [Step::Asked, Step::AskedAgain] {
                    self.notes.add(Note::Never, number(story, step))?;
                }
            }
            Asked::CancelsFar => {
                let first = number(story, Step::First);
                if self.schedule(first, FAR).await? != Some(Scheduled::Done) {
                    return Ok(());
                }
            }
            _ => {}
        }
        let sent = self.act.bus.send(PLANNING, &Ask { story, kind, millis }).await;
        if self.act.heard(sent).await?.is_some() {
            let note = if kind == Asked::Dies { Note::Dies } else { Note::Asked };
            self.notes.add(note, story)?;
        }
        Ok(())
    }

    fn soon(&mut self) -> Duration {
        self.dice.millis(SOON)
    }

    async fn schedule(&self, number: u64, due: Duration) -> Result<Option<Scheduled>, Failure> {
        let name = name(story_of(number));
        let scheduled = self.act.bus.schedule(name, due, &Remind { number }).await;
        self.act.heard(scheduled).await
    }

    async fn cancelled(&self, story: u64) -> Result<Option<Cancelled>, Failure> {
        self.act.heard(self.act.bus.cancel(&name(story)).await).await
    }
}

fn astonished(story: u64, what: &str) -> Failure {
    Failure::permanent(format!("{} {what}", name(story)))
}
