//! The guarantees: what shows them is there.

use crate::tree::TextFile;
use std::collections::HashSet;

const PAGE: &str = "docs/guarantees.md";

/// Every test that the page names and the tree does not have, and the page itself if it names
/// none.
pub(crate) fn offenders(files: &[TextFile]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is not there")];
    };
    let there: HashSet<&str> =
        files.iter().filter(|file| file.is_rust()).flat_map(functions).collect();
    let named: Vec<(usize, &str)> = page.lines().flat_map(tests).collect();
    if named.is_empty() {
        return vec![format!("{PAGE} names no test")];
    }
    let missing = named.into_iter().filter(|(_, test)| !there.contains(test));
    missing.map(|(line, test)| format!("{PAGE}:{line}: there is no test {test}")).collect()
}

/// What stands in backquotes and reads as a test's name: a sentence in lower snake case.
fn tests((number, line): (usize, &str)) -> impl Iterator<Item = (usize, &str)> {
    let quoted = line.split('`').skip(1).step_by(2);
    let is_sentence = |text: &&str| {
        let is_snake =
            text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_snake && text.split('_').count() > 3
    };
    quoted.filter(is_sentence).map(move |test| (number, test))
}

/// The names of the functions in a file.
fn functions(file: &TextFile) -> impl Iterator<Item = &str> {
    let named = |line: &'_ str| -> Option<usize> { line.find("fn ").map(|at| at + 3) };
    file.text.lines().filter_map(move |line| {
        let name = &line[named(line)?..];
        Some(name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(name))
    })
}

mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let source = "#[test]\nasync fn nothing_is_ever_lost() {}\n";
        let page = TextFile::planted(PAGE, page);
        offenders(&[page, TextFile::planted("core/tests/x.rs", source)])
    }

    #[test]
    fn a_test_that_is_there_may_be_named() {
        assert_eq!(
            found("shown by `nothing_is_ever_lost`, see `sync=normal` and `keep_dead`"),
            [""; 0]
        );
    }

    #[test]
    fn a_test_that_is_gone_is_found_with_its_line() {
        let gone = found("`nothing_is_ever_lost`\n`it_was_renamed_since_then`");
        assert_eq!(gone, ["docs/guarantees.md:2: there is no test it_was_renamed_since_then"]);
    }

    #[test]
    fn a_page_without_tests_or_no_page_is_found() {
        assert_eq!(found("promised"), ["docs/guarantees.md names no test"]);
        assert_eq!(offenders(&[]), ["docs/guarantees.md is not there"]);
    }
}
