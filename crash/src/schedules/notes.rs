//! What the processes have written down of their stories, in files that outlive them.

use crate::journal::{self, Journal};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What is known. Numbers of messages, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Is accepted: it fires, if nothing else is noted of it.
    Scheduled,
    /// Is about to be cancelled.
    Cancelling,
    /// Was cancelled while it waited.
    Cancelled,
    /// The cancellation came too late.
    Late,
    /// Is about to be replaced.
    Replacing,
    /// Was replaced before its time.
    ReplacedInTime,
    /// Has a name that was cancelled before, or is planned by a handler that fails.
    Never,
    /// A story: the handler was asked to plan.
    Asked,
    /// A story: a handler that always fails was asked to.
    Dies,
    /// A moment in milliseconds: what recurs is about to be paused.
    Pausing,
    /// A moment: it is resumed.
    Resumed,
    /// A [`Silence`]: there were no moments in it.
    Silent,
}

impl Note {
    pub(super) const ALL: [Self; 12] = [
        Self::Scheduled,
        Self::Cancelling,
        Self::Cancelled,
        Self::Late,
        Self::Replacing,
        Self::ReplacedInTime,
        Self::Never,
        Self::Asked,
        Self::Dies,
        Self::Pausing,
        Self::Resumed,
        Self::Silent,
    ];

    fn folder(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The files of one process.
pub(super) struct Notes(Vec<Journal>);

impl Notes {
    pub(super) fn open(folder: &Path, process: &str) -> io::Result<Self> {
        let open = |note: &Note| Journal::open(&folder.join(note.folder()), process);
        Note::ALL.iter().map(open).collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn add(&mut self, note: Note, number: u64) -> io::Result<()> {
        let place = Note::ALL.iter().position(|other| *other == note);
        place.map_or(Ok(()), |place| self.0[place].note(&[number]))
    }
}

/// Makes the folders of all notes.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    Note::ALL.iter().try_for_each(|note| std::fs::create_dir(folder.join(note.folder())))
}

/// What all processes have noted of a kind.
pub(super) fn read(folder: &Path, note: Note) -> io::Result<BTreeSet<u64>> {
    journal::read_all(&folder.join(note.folder()))
}

/// How many notes of a kind there are.
pub(super) fn count(folder: &Path, note: Note) -> io::Result<u64> {
    journal::count(&folder.join(note.folder()))
}

/// Which life of the process this is, from 0 on.
pub(super) fn life(folder: &Path, process: &str) -> io::Result<u64> {
    let lives = folder.join(format!("lives-of-{process}"));
    std::fs::create_dir_all(&lives)?;
    let earlier = journal::count(&lives)?;
    Journal::open(&lives, process)?.note(&[earlier]).map(|()| earlier)
}

/// A time in which something was paused, as one number: a half of a pair could be lost with its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// From then on, in milliseconds since 1970.
    pub(super) from: u64,
    /// The first moment that may be sent again.
    pub(super) until: u64,
}

const LENGTH_MAX: u64 = 100_000;

impl Silence {
    /// `None` if it is empty, or too long for its number.
    pub(super) fn number(self) -> Option<u64> {
        let length = self.until.checked_sub(self.from)?;
        (1..LENGTH_MAX).contains(&length).then(|| self.from * LENGTH_MAX + length)
    }

    pub(super) fn of(number: u64) -> Self {
        let from = number / LENGTH_MAX;
        Self { from, until: from + number % LENGTH_MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_one_number_unless_it_is_empty() {
        let silence = Silence { from: 1_800_000_000_123, until: 1_800_000_000_456 };
        assert_eq!(silence.number().map(Silence::of), Some(silence));
        assert_eq!(Silence { until: silence.from, ..silence }.number(), None);
        assert_eq!(Silence { until: 0, ..silence }.number(), None);
    }

    #[test]
    fn each_life_has_its_own_number_and_each_note_its_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lives = |process| life(folder.path(), process).unwrap();
        assert_eq!([lives("a"), lives("a"), lives("b"), lives("a")], [0, 1, 0, 2]);
        prepare(folder.path()).unwrap();
        let mut notes = Notes::open(folder.path(), "a").unwrap();
        notes.add(Note::Silent, 7).unwrap();
        notes.add(Note::Scheduled, 8).unwrap();
        let read = |note| read(folder.path(), note).unwrap();
        assert_eq!(read(Note::Silent), BTreeSet::from([7]));
        assert_eq!(read(Note::Scheduled), BTreeSet::from([8]));
        assert_eq!(read(Note::Never), BTreeSet::new());
    }
}
