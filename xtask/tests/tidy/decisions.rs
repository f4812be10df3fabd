//! The decisions: one page each, numbered from 0001 in the order they were made.

use crate::tree::TextFile;

const FOLDER: &str = "docs/decisions/";

/// Every page that is misnamed, untitled, or whose number is not the next one.
pub(crate) fn offenders(files: &[TextFile]) -> Vec<String> {
    let mut pages: Vec<(&str, &TextFile)> = files
        .iter()
        .filter_map(|file| Some((file.path.strip_prefix(FOLDER)?, file)))
        .filter(|(name, _)| name.ends_with(".md") && *name != "README.md")
        .collect();
    pages.sort_by_key(|(name, _)| *name);
    let mut offenders = Vec::new();
    let mut next = 1;
    for (name, page) in pages {
        match number(name) {
            None => offenders.push(format!("{}: is not named NNNN-title.md", page.path)),
            Some(number) => {
                if number != next {
                    offenders.push(format!("{}: the next number is {next:04}", page.path));
                }
                next = number + 1;
            }
        }
        let title = page.text.lines().next().and_then(|line| line.strip_prefix("# "));
        if title.is_none_or(|title| title.trim().is_empty()) {
            offenders.push(format!("{}:1: does not begin with a `# ` title", page.path));
        }
    }
    offenders
}

/// The number of a page named `NNNN-title.md`.
fn number(name: &str) -> Option<u32> {
    let (number, title) = name.split_once('-')?;
    let is_number = number.len() == 4 && number.chars().all(|digit| digit.is_ascii_digit());
    (is_number && title != ".md").then(|| number.parse().ok())?
}

mod tests {
    use super::*;

    fn found(pages: &[(&str, &str)]) -> Vec<String> {
        let file = |(name, text): &(&str, &str)| {
            TextFile::planted(&format!("docs/decisions/{name}"), text)
        };
        offenders(&pages.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn pages_in_an_unbroken_sequence_are_fine_in_any_order() {
        let pages = [("0002-b.md", "# B\n"), ("0001-a.md", "# A\n\nWhy."), ("README.md", "Index")];
        assert_eq!(found(&pages), [""; 0]);
    }

    #[test]
    fn a_gap_and_a_double_are_told_at_the_page_after_them() {
        let pages = [("0002-b.md", "# B"), ("0002-c.md", "# C"), ("0003-d.md", "# D")];
        let expected = [
            "docs/decisions/0002-b.md: the next number is 0001",
            "docs/decisions/0002-c.md: the next number is 0003",
        ];
        assert_eq!(found(&pages), expected);
    }

    #[test]
    fn a_page_without_a_number_or_a_title_is_told() {
        let pages = [("0001-a.md", "Why we"), ("12-b.md", "# B"), ("0002-c.md", "# ")];
        let expected = [
            "docs/decisions/0001-a.md:1: does not begin with a `# ` title",
            "docs/decisions/0002-c.md:1: does not begin with a `# ` title",
            "docs/decisions/12-b.md: is not named NNNN-title.md",
        ];
        assert_eq!(found(&pages), expected);
    }
}
