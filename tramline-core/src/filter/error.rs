//! What is wrong with a filter, and where.

use std::fmt;

/// A filter that cannot be used: its pattern, pairs or expression are wrong.
///
/// `Display` is one line that names the filter and counts characters from 1, as people do.
///
/// ```
/// use tramline_core::filter::Filter;
///
/// let error = Filter::sql("total >").compile().unwrap_err();
/// assert_eq!(error.position(), Some(7));
/// assert_eq!(
///     error.to_string(),
///     r#"bad SQL filter "total >": expected a value at character 8, found the end"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    filter: String,
    message: String,
    position: Option<usize>,
}

impl FilterError {
    /// Where the fault is: a count of characters (not bytes) from 0. It is the length of the
    /// expression where something is missing at its end, and `None` where no single character is
    /// to blame.
    pub fn position(&self) -> Option<usize> {
        self.position
    }

    /// What is wrong, with its place but without the filter's text.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn in_sql(expression: &str, fault: Fault) -> Self {
        Self::in_text("SQL filter", expression, fault)
    }

    pub(super) fn in_subject(pattern: &str, fault: Fault) -> Self {
        Self::in_text("subject pattern", pattern, fault)
    }

    pub(super) fn in_headers(message: &str) -> Self {
        let filter = "headers filter".to_owned();
        Self { filter, message: message.to_owned(), position: None }
    }

    fn in_text(kind: &str, text: &str, fault: Fault) -> Self {
        Self {
            filter: format!("{kind} {:?}", excerpt(text, fault.position)),
            message: fault.message,
            position: Some(fault.position),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bad {}: {}", self.filter, self.message)
    }
}

impl std::error::Error for FilterError {}

/// A fault in a text that the reporter does not hold as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    position: usize,
    message: String,
}

impl Fault {
    pub(super) fn expected(what: &str, position: usize, found: &str) -> Self {
        let message = format!("expected {what} at character {}, found {found}", position + 1);
        Self { position, message }
    }

    pub(super) fn at(position: usize, problem: &str) -> Self {
        Self { position, message: format!("{problem} at character {}", position + 1) }
    }
}

const EXCERPT_CHARS_MAX: usize = 120;

/// A long text is cut around the fault, so that the error still fits on a line.
fn excerpt(text: &str, position: usize) -> String {
    let length = text.chars().count();
    if length <= EXCERPT_CHARS_MAX {
        return text.to_owned();
    }
    let from = position.saturating_sub(EXCERPT_CHARS_MAX / 2).min(length - EXCERPT_CHARS_MAX);
    let middle = text.chars().skip(from).take(EXCERPT_CHARS_MAX).collect::<String>();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + EXCERPT_CHARS_MAX < length { "…" } else { "" };
    format!("{before}{middle}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_around_the_fault() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let error = FilterError::in_sql(&text, Fault::at(500, "unknown character `!`"));
        let expected = format!(
            "bad SQL filter \"…{}!{}…\": unknown character `!` at character 501",
            "a".repeat(60),
            "b".repeat(59),
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_cut_keeps_the_ends_of_the_text() {
        let text = "é".repeat(200);
        assert_eq!(excerpt(&text, 0), format!("{}…", "é".repeat(120)));
        assert_eq!(excerpt(&text, 200), format!("…{}", "é".repeat(120)));
        assert_eq!(excerpt(&"é".repeat(120), 7), "é".repeat(120));
    }

    #[test]
    fn the_error_stays_on_one_line() {
        let error = FilterError::in_sql("a =\n\"", Fault::at(4, "unterminated name"));
        assert_eq!(
            error.to_string(),
            r#"bad SQL filter "a =\n\"": unterminated name at character 5"#
        );
    }
}
