//! Numbers of messages in files that outlive the process: a producer writes one down only after the
//! bus has confirmed the message, a handler only when it has handled it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const SUFFIX: &str = "journal";

/// One task's journal; several lives of the task write it one after the other.
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let mut file = File::options().create(true).append(true).open(path(folder, name))?;
        // A line that an earlier life was killed in ends here and is no number.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    /// Writes them down so that they outlive the machine.
    pub(crate) fn confirmed(&mut self, numbers: &[u64]) -> io::Result<()> {
        self.note(numbers)?;
        self.0.sync_data()
    }

    /// Writes them down so that they outlive this process.
    pub(crate) fn note(&mut self, numbers: &[u64]) -> io::Result<()> {
        let lines: String = numbers.iter().map(|number| format!("{number};\n")).collect();
        self.0.write_all(lines.as_bytes())
    }
}

/// The file of one journal.
pub(crate) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{SUFFIX}"))
}

/// The numbers in all journals in `folder`. A line that is not whole was never confirmed.
pub(crate) fn read_all(folder: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    each(folder, |text| numbers.extend(numbers_in(text)))?;
    Ok(numbers)
}

/// How many numbers are in all journals in `folder`.
pub(crate) fn count(folder: &Path) -> io::Result<u64> {
    let mut count = 0;
    each(folder, |text| count += numbers_in(text).count() as u64)?;
    Ok(count)
}

/// How often each number is in all journals in `folder`.
pub(crate) fn times(folder: &Path) -> io::Result<BTreeMap<u64, usize>> {
    let mut times = BTreeMap::new();
    each(folder, |text| {
        for number in numbers_in(text) {
            *times.entry(number).or_default() += 1;
        }
    })?;
    Ok(times)
}

fn each(folder: &Path, mut see: impl FnMut(&str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            see(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}

fn numbers_in(text: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(|line| line.strip_suffix(';')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_killed_producer_did_not_finish_is_no_number() {
        let numbers: Vec<u64> = numbers_in("\n17;\n18;\n1\n\n20;\n2").collect();
        assert_eq!(numbers, [17, 18, 20]);
    }
}
