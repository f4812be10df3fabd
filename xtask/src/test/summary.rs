//! The table at the end, and the line that says it all.

use super::outcome::{Counts, Outcome, Verdict};
use std::fmt::Write;
use std::time::Duration;

/// What became of one step.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Draws the table, what did not pass with its reason, and the sum alone on the last line.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = format!("{:<23}{:<9}{:>8}   tests\n", "step", "result", "seconds");
    let mut sum = Counts::default();
    for Row { name, outcome, took } in rows {
        let tests = outcome.tests.map(|tests| tests.to_string()).unwrap_or_default();
        let line = format!(
            "{name:<23}{:<9}{:>8.1}   {tests}",
            outcome.verdict.to_string(),
            took.as_secs_f64()
        );
        text += line.trim_end();
        text.push('\n');
        sum += outcome.tally();
    }
    let unsound: Vec<&Row> =
        rows.iter().filter(|row| row.outcome.verdict != Verdict::Passed).collect();
    if !unsound.is_empty() {
        text.push('\n');
    }
    for Row { name, outcome, .. } in unsound {
        let detail = outcome.detail.replace('\n', "\n    ");
        // Writing to a string cannot fail.
        writeln!(text, "{name} {}: {detail}", outcome.verdict).ok();
    }
    writeln!(text, "\n{sum}").ok();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, outcome: Outcome) -> Row {
        Row { name, outcome, took: Duration::from_millis(12_340) }
    }

    #[test]
    fn the_table_names_each_step_and_the_last_line_is_the_sum() {
        let tests = Counts { passed: 310, failed: 1, skipped: 2 };
        let failure = "1 test failed\nsee above".to_owned();
        let rows = [
            row("fmt", Outcome::of_one(Ok(String::new()))),
            row("test", Outcome::of_tests(tests, Some(failure))),
        ];
        let expected = "\
step                   result    seconds   tests
fmt                    passed       12.3
test                   FAILED       12.3   310 passed, 1 failed, 2 skipped

test FAILED: 1 test failed
    see above

311 passed, 1 failed, 2 skipped
";
        assert_eq!(render(&rows), expected);
    }

    #[test]
    fn nothing_stands_between_the_table_and_the_sum_when_all_passed() {
        let rows = [row("fmt", Outcome::of_one(Ok(String::new())))];
        let expected = "\
step                   result    seconds   tests
fmt                    passed       12.3

1 passed, 0 failed, 0 skipped
";
        assert_eq!(render(&rows), expected);
    }
}
