//! The figures for people and for programs.

use super::growth::{JUDGED_FROM, growth};
use super::observer::Observer;
use super::sample::{Group, Lateness, Line, Sample, secs};
use super::soak::Soak;
use super::space::Space;
use crate::sqlite::evidence::Evidence;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a soak was about.
#[derive(Serialize)]
pub(crate) struct Summary {
    seed: u64,
    #[serde(serialize_with = "secs")]
    length: Duration,
    rate: u64,
    confirmed: usize,
    effects: usize,
    again: u64,
    dead: usize,
    poison: usize,
    kills: u64,
    stops: u64,
    late: Lateness,
    log_bytes_max: u64,
    producer_rss_bytes: Option<(u64, u64)>,
    consumer_rss_bytes: Option<(u64, u64)>,
    producer_descriptors: Option<(u64, u64)>,
    consumer_descriptors: Option<(u64, u64)>,
    space: Vec<Space>,
}

impl Summary {
    pub(crate) fn new(
        soak: &Soak,
        observer: &Observer,
        evidence: &Evidence,
        space: Vec<Space>,
    ) -> Self {
        let series =
            |of: fn(&Sample) -> u64| growth(&observer.samples.iter().map(of).collect::<Vec<_>>());
        let last = observer.lines.last();
        Self {
            seed: soak.seed,
            length: soak.length,
            rate: soak.rate,
            confirmed: evidence.confirmed.len(),
            effects: evidence.effects.len(),
            again: last.map_or(0, |line| line.sample.again),
            dead: evidence.dead.len(),
            poison: evidence.dead.iter().filter(|letter| letter.reason == "poison").count(),
            kills: last.map_or(0, |line| line.kills),
            stops: last.map_or(0, |line| line.stops),
            late: observer.lateness(),
            log_bytes_max: observer.log_bytes_max(),
            producer_rss_bytes: series(|sample| sample.producers.oldest.rss_bytes),
            consumer_rss_bytes: series(|sample| sample.consumers.oldest.rss_bytes),
            producer_descriptors: series(|sample| sample.producers.oldest.descriptors),
            consumer_descriptors: series(|sample| sample.consumers.oldest.descriptors),
            space,
        }
    }

    fn rows(&self) -> Vec<(String, String)> {
        let Lateness { p50, p99, max } = self.late;
        let mut rows = vec![
            ("confirmed", self.confirmed.to_string()),
            (
                "effects",
                format!("{}, {} of them again where that may be", self.effects, self.again),
            ),
            ("dead letters", format!("{}, {} of them poison", self.dead, self.poison)),
            ("kills, stops", format!("{}, {}", self.kills, self.stops)),
            ("sent to handled", format!("p50 {}, p99 {}, max {} ms", ms(p50), ms(p99), ms(max))),
            ("logs, at most", format!("{} MiB", mib(self.log_bytes_max))),
            ("oldest producer's memory", grown(self.producer_rss_bytes, mib, " MiB")),
            ("oldest consumer's memory", grown(self.consumer_rss_bytes, mib, " MiB")),
            (
                "oldest producer's descriptors",
                grown(self.producer_descriptors, |n| n.to_string(), ""),
            ),
            (
                "oldest consumer's descriptors",
                grown(self.consumer_descriptors, |n| n.to_string(), ""),
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Vec<_>>();
        for space in &self.space {
            let Space { file, all_bytes, effect_bytes, free_bytes, inbox_rows, dead_rows, .. } =
                space;
            let text = format!(
                "{} MiB: {} of effects, {} free, {} of the bus ({inbox_rows} rows of inboxes, {dead_rows} dead)",
                mib(*all_bytes),
                mib(*effect_bytes),
                mib(*free_bytes),
                mib(space.bus_bytes()),
            );
            rows.push((format!("{file} at the end"), text));
        }
        rows
    }
}

pub(crate) fn head(soak: &Soak) {
    let Soak { seed, length, rate, .. } = soak;
    println!("crash sqlite: a soak of {length:?} from seed {seed}, {rate} messages a second");
    if *length < JUDGED_FROM {
        println!("too short to judge by growth and stalls, which takes {JUDGED_FROM:?}");
    }
    println!("late in ms; memory in MiB, of the oldest and of the largest; files in MiB\n");
    println!(
        "{:>7} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>8} {:>5} {:>5} {:>15} {:>15} {:>4} {:>7} {:>6}",
        "elapsed",
        "confirmed",
        "handled",
        "again",
        "backlog",
        "p50",
        "p99",
        "max",
        "kills",
        "stops",
        "producer",
        "consumer",
        "fds",
        "file",
        "logs"
    );
}

pub(crate) fn line(line: &Line) {
    let Line { sample, confirmed, late: Lateness { p50, p99, max }, kills, stops } = line;
    let Sample { at, handled, again, backlog, producers, consumers, file_bytes, log_bytes } =
        sample;
    let memory = |group: &Group| {
        format!("{} / {}", mib(group.oldest.rss_bytes), mib(group.largest.rss_bytes))
    };
    let descriptors = producers.largest.descriptors.max(consumers.largest.descriptors);
    println!(
        "{:>7} {confirmed:>9} {handled:>9} {again:>6} {backlog:>7} {:>8} {:>8} {:>8} {kills:>5} {stops:>5} \
         {:>15} {:>15} {descriptors:>4} {:>7} {:>6}",
        clock(*at),
        ms(*p50),
        ms(*p99),
        ms(*max),
        memory(producers),
        memory(consumers),
        mib(*file_bytes),
        mib(*log_bytes),
    );
}

pub(crate) fn tail(summary: &Summary) {
    println!(
        "\nin the second quarter at most → in the last at least, where something could leak\n"
    );
    for (name, value) in summary.rows() {
        println!("{name:<30} {value}");
    }
}

/// Writes all lines, the summary and what does not hold to `file`.
pub(crate) fn write(
    file: &Path,
    observer: &Observer,
    summary: &Summary,
    faults: &[String],
) -> Result<(), String> {
    #[derive(Serialize)]
    struct Written<'a> {
        summary: &'a Summary,
        faults: &'a [String],
        lines: &'a [Line],
    }
    let written = Written { summary, faults, lines: &observer.lines };
    let json = serde_json::to_vec_pretty(&written).map_err(|error| error.to_string());
    let done = json.and_then(|json| fs::write(file, json).map_err(|error| error.to_string()));
    done.map_err(|error| format!("failed to write {}: {error}", file.display()))
}

fn grown(pair: Option<(u64, u64)>, text: impl Fn(u64) -> String, unit: &str) -> String {
    let Some((before, after)) = pair else { return "not known".to_owned() };
    format!("{} → {}{unit}", text(before), text(after))
}

fn clock(at: Duration) -> String {
    format!("{}:{:02}", at.as_secs() / 60, at.as_secs() % 60)
}

fn ms(late: Duration) -> String {
    format!("{:.1}", late.as_secs_f64() * 1000.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}
