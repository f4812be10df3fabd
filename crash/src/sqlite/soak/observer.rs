//! Looks at the processes and the files all the time.

use super::report;
use super::sample::{Group, Lateness, Line, Sample};
use super::tally::Tally;
use super::vitals::Vitals;
use crate::journal;
use crate::sqlite::consumer::FILE;
use crate::sqlite::elsewhere::STORE_FILE;
use crate::sqlite::evidence::Onlooker;
use crate::sqlite::plan::Act;
use crate::sqlite::processes::{Process, Role};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What was seen so far.
pub(crate) struct Observer {
    folder: PathBuf,
    begun: Instant,
    sample_every: Duration,
    line_every: Duration,
    /// There once something was confirmed: then the files have their tables.
    eyes: Option<(Onlooker, Tally)>,
    late: Vec<u64>,
    kills: u64,
    stops: u64,
    log_bytes_max: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) lines: Vec<Line>,
}

impl Observer {
    pub(crate) fn new(folder: &Path, length: Duration) -> Self {
        const LINE_EVERY_MAX: Duration = Duration::from_secs(60);
        const SAMPLES_MIN: u32 = 100;
        Self {
            folder: folder.to_owned(),
            begun: Instant::now(),
            sample_every: (length / SAMPLES_MIN).min(LINE_EVERY_MAX / 12),
            line_every: (length / 4).min(LINE_EVERY_MAX),
            eyes: None,
            late: Vec::new(),
            kills: 0,
            stops: 0,
            log_bytes_max: 0,
            samples: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Notes what was done to a process.
    pub(crate) fn acted(&mut self, act: Act) {
        self.kills += u64::from(act == Act::Kill);
        self.stops += u64::from(act == Act::Stop);
    }

    /// Looks whether it is time to, and prints a line when it is time for that.
    pub(crate) fn look(&mut self, processes: &[Process]) -> Result<(), String> {
        let at = self.begun.elapsed();
        self.note_log();
        let last = self.samples.last().map_or(Duration::ZERO, |sample| sample.at);
        if at < last + self.sample_every {
            return Ok(());
        }
        let sample = self.sample(at, processes)?;
        self.samples.push(sample.clone());
        let last = self.lines.last().map_or(Duration::ZERO, |line| line.sample.at);
        if at >= last + self.line_every { self.line(sample) } else { Ok(()) }
    }

    /// A last line, when everything is handled.
    pub(crate) fn end(&mut self, processes: &[Process]) -> Result<(), String> {
        let at = self.begun.elapsed();
        let sample = self.sample(at, processes)?;
        self.line(sample)
    }

    /// The log keeps the largest size that it ever had, while somebody has its file open.
    pub(crate) fn note_log(&mut self) {
        let bytes: u64 =
            [FILE, STORE_FILE].map(|name| self.bytes(&format!("{name}-wal"))).iter().sum();
        self.log_bytes_max = self.log_bytes_max.max(bytes);
    }

    pub(crate) fn log_bytes_max(&self) -> u64 {
        self.log_bytes_max
    }

    /// Of all that was handled.
    pub(crate) fn lateness(&self) -> Lateness {
        Lateness::of(self.late.clone())
    }

    fn sample(&mut self, at: Duration, processes: &[Process]) -> Result<Sample, String> {
        let mut sample = Sample {
            at,
            producers: group(processes, Role::Producer),
            consumers: group(processes, Role::Consumer),
            file_bytes: self.bytes(FILE),
            log_bytes: self.bytes(&format!("{FILE}-wal"))
                + self.bytes(&format!("{STORE_FILE}-wal")),
            ..Sample::default()
        };
        let failed = |error| format!("failed to read the effects: {error}");
        if self.eyes.is_none() && self.confirmed()? > 0 {
            self.eyes =
                Some((Onlooker::new(&self.folder)?, Tally::new(&self.folder).map_err(failed)?));
        }
        if let Some((onlooker, tally)) = &mut self.eyes {
            tally.read().map_err(failed)?;
            sample.backlog = onlooker.at_work()?.unsigned_abs();
            (sample.handled, sample.again) = (tally.handled, tally.again);
        }
        Ok(sample)
    }

    fn line(&mut self, sample: Sample) -> Result<(), String> {
        let late = self.eyes.as_mut().map(|(_, tally)| std::mem::take(&mut tally.late));
        let late = late.unwrap_or_default();
        self.late.extend(&late);
        let line = Line {
            sample,
            confirmed: self.confirmed()?,
            late: Lateness::of(late),
            kills: self.kills,
            stops: self.stops,
        };
        report::line(&line);
        self.lines.push(line);
        Ok(())
    }

    fn confirmed(&self) -> Result<u64, String> {
        journal::count(&self.folder)
            .map_err(|error| format!("failed to read the journals: {error}"))
    }

    fn bytes(&self, name: &str) -> u64 {
        // Before its first process and behind its last there is none.
        fs::metadata(self.folder.join(name)).map_or(0, |file| file.len())
    }
}

fn group(processes: &[Process], role: Role) -> Group {
    let alive = processes.iter().filter(|process| process.role() == role);
    let mut alive: Vec<_> = alive.filter_map(Process::alive).collect();
    alive.sort_by_key(|(born, _)| *born);
    let vitals: Vec<Vitals> = alive.into_iter().map(|(_, id)| Vitals::of(id)).collect();
    Group {
        oldest: vitals.first().copied().unwrap_or_default(),
        largest: vitals.into_iter().fold(Vitals::default(), Vitals::max),
    }
}
