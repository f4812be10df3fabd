//! Matching with wildcards, the same for the words of a subject and the characters of `LIKE`.

/// One piece of a pattern over items such as words or characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<T> {
    /// Exactly this item.
    Exactly(T),
    /// Any one item.
    One,
    /// Any number of items, none included.
    Many,
}

/// Whether the pattern covers the whole input.
///
/// Only the last `Many` seen is ever widened: an earlier one could not reach further than it does.
/// So the time is at most pattern × input, whatever the pattern.
pub(super) fn matches<T, I>(pattern: &[Piece<T>], mut input: I) -> bool
where
    I: Iterator + Clone,
    T: PartialEq<I::Item>,
{
    let mut rest = pattern;
    let mut last_many: Option<(&[Piece<T>], I)> = None;
    loop {
        if let [Piece::Many, after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            last_many = Some((after, input.clone()));
            rest = after;
            continue;
        }
        let Some(item) = input.next() else {
            return rest.is_empty();
        };
        match rest {
            [Piece::One, after @ ..] => rest = after,
            [Piece::Exactly(wanted), after @ ..] if *wanted == item => rest = after,
            _ => {
                let Some((after, from)) = &mut last_many else {
                    return false;
                };
                from.next();
                rest = after;
                input = from.clone();
            }
        }
    }
}
