//! The figures for people, and the only place that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is its purpose")]

use crate::folder::Floor;
use crate::round::{Case, Figure, Measured, Plan, Spread};
use std::error::Error;

const CASE_COLUMNS: usize = 56;
/// A sync that takes less has not reached any disk.
const FASTEST_DISK_MICROS: f64 = 20.0;

impl Case {
    /// The name of one of its figures.
    pub(crate) fn figure(&self, figure: &Figure) -> String {
        match figure.name {
            "" => self.name.clone(),
            name => format!("{}: {name}", self.name),
        }
    }
}

pub(crate) fn head(bench: &str, plan: &Plan) {
    println!("{bench}: medians of {} interleaved rounds; CPU in µs a message\n", plan.rounds);
    columns("twin");
}

pub(crate) fn growth_head(what: &str, beside: &str) {
    println!("{what}; CPU in µs a message\n");
    columns(beside);
}

fn columns(beside: &str) {
    println!(
        "{:<CASE_COLUMNS$} {:>10} {:>23} {:<10} {beside:>10} {:>6} {:>8} {:>8}",
        "case", "ours", "(min..max)", "unit", "ratio", "CPU", "its CPU"
    );
}

/// So many messages were handled twice, which a broker may bring about.
pub(crate) fn came_again(messages: u64) {
    if messages > 0 {
        eprintln!("{messages} messages came again");
    }
}

/// A line for each figure of a case.
pub(crate) fn rows(case: &Case, measured: &Measured) {
    for (index, figure) in case.figures.iter().enumerate() {
        let ours = measured.ours.spread(index);
        let twin = measured.twin.as_ref().map(|twin| twin.spread(index).median);
        let twin_cpu = measured.twin.as_ref().map(|twin| twin.cpu_micros());
        println!(
            "{:<CASE_COLUMNS$} {:>10} {:>23} {:<10} {:>10} {:>6} {:>8} {:>8}",
            case.figure(figure),
            number(ours.median),
            range(&ours),
            figure.unit,
            twin.map_or_else(|| "-".to_owned(), number),
            twin.map_or_else(|| "-".to_owned(), |twin| format!("{:.2}", ours.median / twin)),
            number(measured.ours.cpu_micros()),
            twin_cpu.map_or_else(|| "-".to_owned(), number),
        );
    }
}

pub(crate) fn floor(floor: &Floor) {
    println!(
        "disk floor: a sync of 4 KiB takes {:.0} µs (p99 {:.0} µs) in {} ({}){}\n",
        floor.p50_micros,
        floor.p99_micros,
        floor.folder.display(),
        floor.file_system,
        if floor.p50_micros < FASTEST_DISK_MICROS { "; too fast for a disk" } else { "" },
    );
}

/// A line for another process.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

pub(crate) fn complain(error: &(dyn Error + Send + Sync)) {
    eprintln!("failed to measure: {error}");
}

fn range(spread: &Spread) -> String {
    format!("({}..{})", number(spread.min), number(spread.max))
}

/// Three or four digits that count, thousands apart.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => thousands(&format!("{value:.0}")),
    }
}

fn thousands(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for start in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&digits[start..start + 3]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_the_digits_that_count() {
        let shown = [0.5, 12.34, 999.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.50", "12.3", "1,000", "1,234,567"]);
    }
}
