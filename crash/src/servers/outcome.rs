//! How a scenario has ended.

use super::judge::Verdict;
use super::load::Answers;
use std::fmt;

/// How a scenario ended well.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) answers: Option<Answers>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        if let Some(Answers { errors, slowest, .. }) = &self.answers {
            write!(
                f,
                ", {errors} not confirmed, the slowest publish took {:.1} s",
                slowest.as_secs_f64()
            )?;
        }
        Ok(())
    }
}
