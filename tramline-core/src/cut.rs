//! Texts of errors are cut to a bound.

/// Cuts `text` to at most `bytes_max` bytes on a character's edge, with an ellipsis.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes_max {
        return;
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(ELLIPSIS.len()));
    text.truncate(end);
    text.push_str(ELLIPSIS);
}
