//! The patterns of LIKE.

use crate::filter::wildcard::{self, Piece};

/// A pattern in which `%` is any text and `_` any one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LikePattern(Vec<Piece<char>>);

impl LikePattern {
    /// Reads a pattern. The character after `escape` stands for itself.
    ///
    /// # Errors
    ///
    /// An escape character before anything but `%`, `_` or itself, in words for the user.
    pub(super) fn parse(pattern: &str, escape: Option<char>) -> Result<Self, &'static str> {
        let mut pieces = Vec::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                _ if Some(character) == escape => match characters.next() {
                    Some(next @ ('%' | '_')) => Piece::Exactly(next),
                    Some(next) if Some(next) == escape => Piece::Exactly(next),
                    Some(_) => return Err("escape before a character that needs none"),
                    None => return Err("escape without a character after it"),
                },
                '%' => Piece::Many,
                '_' => Piece::One,
                _ => Piece::Exactly(character),
            });
        }
        Ok(Self(pieces))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        wildcard::matches(&self.0, text.chars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_is_any_text_and_underscore_one_character() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "any\ntext", true),
            ("_", "", false),
            ("_", "é", true),
            ("_", "🚃", true),
            ("_", "ab", false),
            ("a%", "a", true),
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("a%", "A", false),
            ("%a", "ba", true),
            ("%a", "aab", false),
            ("%b%", "abc", true),
            ("%b%", "ac", false),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("a%c%e", "abcde", true),
            ("a%c%e", "abde", false),
            ("%aab", "aaab", true),
            ("_%_", "a", false),
            ("_%_", "ab", true),
            ("a\\%", "a\\b", true),
        ] {
            let parsed = LikePattern::parse(pattern, None).unwrap();
            assert_eq!(parsed.matches(text), expected, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn an_escaped_wildcard_stands_for_itself() {
        for (pattern, escape, text, expected) in [
            ("100!%", '!', "100%", true),
            ("100!%", '!', "1000", false),
            ("a!_c", '!', "a_c", true),
            ("a!_c", '!', "abc", false),
            ("a!!", '!', "a!", true),
            ("!%%", '!', "%anything", true),
            ("100%%", '%', "100%", true),
            ("100%%", '%', "100x", false),
            ("%_a", '%', "_a", true),
            ("__é", '_', "_é", true),
        ] {
            let parsed = LikePattern::parse(pattern, Some(escape)).unwrap();
            assert_eq!(parsed.matches(text), expected, "{pattern:?} {escape:?} and {text:?}");
        }
    }

    #[test]
    fn an_escape_before_anything_else_is_refused() {
        for pattern in ["!", "a!", "!a", "%!x%", "!!!", "! "] {
            assert!(LikePattern::parse(pattern, Some('!')).is_err(), "{pattern:?}");
            assert!(LikePattern::parse(pattern, Some('?')).is_ok(), "{pattern:?}");
        }
    }

    fn reference(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['%', rest @ ..], _) => (0..=text.len()).any(|taken| reference(rest, &text[taken..])),
            (['_', rest @ ..], [_, after @ ..]) => reference(rest, after),
            ([wanted, rest @ ..], [first, after @ ..]) => wanted == first && reference(rest, after),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn like_agrees_with_its_definition(pattern in "[aé%_]{0,9}", text in "[aé]{0,12}") {
            let expected = reference(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(LikePattern::parse(&pattern, None).unwrap().matches(&text), expected);
        }
    }
}
