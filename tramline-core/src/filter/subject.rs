//! Patterns over the words of a subject.

use super::error::{Fault, FilterError};
use super::wildcard::{self, Piece};

/// A subject pattern: words between dots, where `*` is any one word and `#` any number of words,
/// none included. It means what the binding key of an AMQP topic exchange means.
///
/// ```
/// use tramline_core::filter::SubjectPattern;
///
/// let pattern = SubjectPattern::parse("orders.#.eu")?;
/// assert!(pattern.matches("orders.eu"));
/// assert!(pattern.matches("orders.placed.express.eu"));
/// assert!(!pattern.matches("orders.placed.us"));
/// # Ok::<(), tramline_core::filter::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPattern {
    text: String,
    words: Vec<Piece<String>>,
}

impl SubjectPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// An empty pattern or word, and a `*` or `#` that is not a word of its own.
    pub fn parse(pattern: &str) -> Result<Self, FilterError> {
        let words = parse_words(pattern);
        let words = words.map_err(|fault| FilterError::in_subject(pattern, fault))?;
        Ok(Self { text: pattern.to_owned(), words })
    }

    /// Whether a subject matches, in time proportional to pattern × subject at worst.
    ///
    /// Case matters. The empty subject has no words.
    pub fn matches(&self, subject: &str) -> bool {
        let words = (!subject.is_empty()).then(|| subject.split('.'));
        wildcard::matches(&self.words, words.into_iter().flatten())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn parse_words(pattern: &str) -> Result<Vec<Piece<String>>, Fault> {
    let length = pattern.chars().count();
    let mut start = 0;
    let mut words = Vec::new();
    for word in pattern.split('.') {
        let end = start + word.chars().count();
        words.push(match word {
            "" => {
                let found = if end == length { "the end" } else { "`.`" };
                return Err(Fault::expected("a word", start, found));
            }
            "*" => Piece::One,
            "#" => Piece::Many,
            _ => {
                if let Some((at, sign)) = word.chars().enumerate().find(|(_, c)| is_wildcard(*c)) {
                    let problem = format!("`{sign}` is not a word of its own");
                    return Err(Fault::at(start + at, &problem));
                }
                Piece::Exactly(word.to_owned())
            }
        });
        start = end + 1;
    }
    Ok(words)
}

fn is_wildcard(sign: char) -> bool {
    matches!(sign, '*' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_stand_for_words() {
        for (pattern, matching, other) in [
            (
                "orders.placed",
                &["orders.placed"][..],
                &[
                    "orders",
                    "orders.placed.eu",
                    "orders.Placed",
                    "xorders.placed",
                    "ordersxplaced",
                    "",
                ][..],
            ),
            ("*", &["orders", "é"], &["", "orders.placed"]),
            ("#", &["", "orders", "orders.placed", "a.b.c.d"], &[]),
            (
                "orders.*",
                &["orders.placed", "orders."],
                &["orders", "orders.placed.eu", "payments.made"],
            ),
            (
                "orders.#",
                &["orders", "orders.placed", "orders.placed.eu"],
                &["order", "ordersx", "x.orders"],
            ),
            ("#.eu", &["eu", "orders.eu", "a.b.eu", "eu.eu"], &["orders.eu.x", "", "neu"]),
            ("*.placed.*", &["orders.placed.eu"], &["orders.placed", "placed.eu", "a.b.placed.c"]),
            ("a.#.z", &["a.z", "a.b.z", "a.b.c.z", "a.z.z"], &["a", "z", "a.b", "b.z", "az"]),
            (
                "a.#.m.#.z",
                &["a.m.z", "a.m.m.z", "a.b.m.c.d.z", "a.m.z.z"],
                &["a.z", "a.m", "a.b.z"],
            ),
            ("#.*", &["a", "a.b"], &[""]),
            ("*.#.*", &["a.b", "a.b.c"], &["a", ""]),
            ("#.#", &["", "a", "a.b"], &[]),
            ("#.a.b.#.a", &["a.b.a", "a.a.b.a", "a.b.b.a"], &["a.b", "b.a", "a.a"]),
        ] {
            let parsed = SubjectPattern::parse(pattern).unwrap();
            assert_eq!(parsed.as_str(), pattern);
            matching.iter().for_each(|s| assert!(parsed.matches(s), "{pattern} and {s}"));
            other.iter().for_each(|s| assert!(!parsed.matches(s), "{pattern} and {s}"));
        }
    }

    #[test]
    fn a_bad_pattern_is_refused_with_the_position_of_its_fault() {
        for (pattern, position, message) in [
            ("", 0, "expected a word at character 1, found the end"),
            (".", 0, "expected a word at character 1, found `.`"),
            ("orders.", 7, "expected a word at character 8, found the end"),
            (".orders", 0, "expected a word at character 1, found `.`"),
            ("orders..eu", 7, "expected a word at character 8, found `.`"),
            ("é.ü*", 3, "`*` is not a word of its own at character 4"),
            ("#orders", 0, "`#` is not a word of its own at character 1"),
            ("a.**", 2, "`*` is not a word of its own at character 3"),
            ("a.b.c#d", 5, "`#` is not a word of its own at character 6"),
        ] {
            let error = SubjectPattern::parse(pattern).unwrap_err();
            assert_eq!(error.position(), Some(position), "{pattern}");
            assert_eq!(error.message(), message, "{pattern}");
        }
    }

    #[test]
    fn many_hashes_take_no_exponential_time() {
        let pattern = SubjectPattern::parse(&format!("{}z", "#.a.".repeat(300))).unwrap();
        assert!(!pattern.matches(&vec!["a"; 1500].join(".")));
        let pattern = SubjectPattern::parse(&vec!["#"; 500].join(".")).unwrap();
        assert!(pattern.matches(&vec!["a"; 500].join(".")));
    }

    fn reference(pattern: &[&str], subject: &[&str]) -> bool {
        match (pattern, subject) {
            ([], []) => true,
            (["#", rest @ ..], _) => {
                (0..=subject.len()).any(|taken| reference(rest, &subject[taken..]))
            }
            (["*", rest @ ..], [_, after @ ..]) => reference(rest, after),
            ([word, rest @ ..], [first, after @ ..]) => word == first && reference(rest, after),
            _ => false,
        }
    }

    #[test]
    fn every_short_pattern_agrees_with_the_definition() {
        let patterns = sentences(&["a", "b", "*", "#"], 5);
        let subjects = sentences(&["a", "b"], 5);
        for pattern in patterns.iter().filter(|words| !words.is_empty()) {
            let parsed = SubjectPattern::parse(&pattern.join(".")).unwrap();
            for subject in &subjects {
                let (expected, text) = (reference(pattern, subject), subject.join("."));
                assert_eq!(parsed.matches(&text), expected, "{pattern:?} and {subject:?}");
            }
        }
    }

    fn sentences(words: &[&'static str], length_max: usize) -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&str>> = vec![vec![]];
        let mut from = 0;
        for _ in 0..length_max {
            let until = all.len();
            for index in from..until {
                for word in words {
                    all.push(all[index].iter().chain([word]).copied().collect());
                }
            }
            from = until;
        }
        all
    }

    proptest! {
        #[test]
        fn long_patterns_agree_with_the_definition(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#"]), 1..9),
            subject in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..12),
        ) {
            let parsed = SubjectPattern::parse(&pattern.join(".")).unwrap();
            prop_assert_eq!(parsed.matches(&subject.join(".")), reference(&pattern, &subject));
        }

        #[test]
        fn no_text_makes_the_pattern_panic(pattern in ".*", subject in ".*") {
            if let Ok(pattern) = SubjectPattern::parse(&pattern) {
                pattern.matches(&subject);
            }
        }
    }
}
