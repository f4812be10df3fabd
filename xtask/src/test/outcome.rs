//! How a step ended, and what it counts for.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// How a step ended: in one verdict, with a sentence about it, and perhaps over many tests.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The single tests, when the step runs tests.
    pub(crate) tests: Option<Counts>,
    /// What was seen, or what failed and what to do about it; may be empty.
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    /// The outcome of a step that is one test itself.
    pub(crate) fn of_one(result: Result<String, String>) -> Self {
        let (verdict, detail) = match result {
            Ok(detail) => (Verdict::Passed, detail),
            Err(detail) => (Verdict::Failed, detail),
        };
        Self { verdict, tests: None, detail }
    }

    /// The outcome of a step that runs tests, with what failed, if anything did.
    pub(crate) fn of_tests(tests: Counts, failure: Option<String>) -> Self {
        let sound = failure.is_none() && tests.failed == 0;
        let verdict = if sound { Verdict::Passed } else { Verdict::Failed };
        Self { verdict, tests: Some(tests), detail: failure.unwrap_or_default() }
    }

    /// The outcome of something that could not be tried here.
    pub(crate) fn skipped(why: String) -> Self {
        Self { verdict: Verdict::Skipped, tests: None, detail: why }
    }

    /// What the step adds to the last line. A step that failed counts as at least one failure,
    /// even when none of its tests has said so, as when a test binary aborts.
    pub(crate) fn tally(&self) -> Counts {
        let mut tally = self.tests.unwrap_or_default();
        match self.verdict {
            Verdict::Passed if self.tests.is_none() => tally.passed = 1,
            Verdict::Passed => {}
            Verdict::Failed => tally.failed = tally.failed.max(1),
            Verdict::Skipped => tally.skipped = tally.skipped.max(1),
        }
        tally
    }

    /// The same outcome where a skip is a failure.
    pub(crate) fn without_skips(mut self) -> Self {
        let skipped = self.tally().skipped;
        if skipped > 0 {
            let count = if skipped == 1 { "a skip".into() } else { format!("{skipped} skips") };
            let comma = if self.detail.is_empty() { "" } else { "; " };
            self.detail = format!("{}{comma}{count}, and --require forbids it", self.detail);
            self.verdict = Verdict::Failed;
        }
        self
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: Counts = Counts { passed: 9, failed: 0, skipped: 2 };

    #[test]
    fn a_step_without_tests_counts_as_one() {
        assert_eq!(Outcome::of_one(Ok(String::new())).tally(), Counts { passed: 1, ..counts() });
        assert_eq!(Outcome::of_one(Err(String::new())).tally(), Counts { failed: 1, ..counts() });
        assert_eq!(Outcome::skipped(String::new()).tally(), Counts { skipped: 1, ..counts() });
    }

    #[test]
    fn a_step_with_tests_counts_its_tests_and_not_itself() {
        assert_eq!(Outcome::of_tests(TESTS, None).tally(), TESTS);
    }

    #[test]
    fn a_step_that_fails_without_a_failed_test_still_counts_as_a_failure() {
        let outcome = Outcome::of_tests(TESTS, Some("a test binary aborted".to_owned()));
        assert_eq!(outcome.tally(), Counts { failed: 1, ..TESTS });
    }

    #[test]
    fn a_failed_test_fails_its_step() {
        let outcome = Outcome::of_tests(Counts { failed: 3, ..TESTS }, None);
        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.tally().failed, 3);
    }

    #[test]
    fn a_skipped_test_fails_its_step_where_skips_are_refused() {
        let outcome = Outcome::of_tests(TESTS, None).without_skips();
        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.detail, "2 skips, and --require forbids it");
        let none = Outcome::of_tests(Counts { skipped: 0, ..TESTS }, None).without_skips();
        assert_eq!(none.verdict, Verdict::Passed);
    }

    fn counts() -> Counts {
        Counts::default()
    }
}
