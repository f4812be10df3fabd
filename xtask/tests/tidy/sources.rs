//! What no source file may be or hold. The needles are put together here, so that the checks do
//! not find themselves.

use crate::tree::TextFile;

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 120;

const UNFINISHED: [&str; 6] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("db", "g!("),
];

const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];

/// What may stand before an item's own word.
const QUALIFIERS: [&str; 4] = ["async", "const", "unsafe", "default"];
const ITEMS: [&str; 6] = ["fn", "impl", "struct", "enum", "trait", "union"];

/// Rust files that have outgrown one idea.
pub(crate) fn long_files(files: &[TextFile]) -> Vec<String> {
    let long = |file: &TextFile| {
        let lines = file.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines of {LINES_MAX}", file.path))
    };
    files.iter().filter(|file| file.is_rust()).filter_map(long).collect()
}

/// Lines of Rust that do not fit beside another file.
pub(crate) fn wide_lines(files: &[TextFile]) -> Vec<String> {
    in_lines(files.iter().filter(|file| file.is_rust()), |line| {
        let columns = line.chars().count();
        (columns > COLUMNS_MAX).then(|| format!("{columns} columns of {COLUMNS_MAX}"))
    })
}

/// Functions, types and implementations in files that should only map.
pub(crate) fn items_in_maps(files: &[TextFile]) -> Vec<String> {
    let is_map = |file: &&TextFile| {
        let name = file.path.rsplit('/').next();
        matches!(name, Some("lib.rs" | "mod.rs"))
    };
    in_lines(files.iter().filter(is_map), |line| begins_item(line).then(|| line.to_owned()))
}

/// Work that was left for later.
pub(crate) fn unfinished(files: &[TextFile]) -> Vec<String> {
    in_lines(files.iter().filter(|file| file.is_rust()), |line| {
        UNFINISHED.into_iter().find(|needle| line.contains(needle)).map(str::to_owned)
    })
}

/// Absolute paths that exist on one machine only, in files of any kind.
pub(crate) fn machine_paths(files: &[TextFile]) -> Vec<String> {
    in_lines(files.iter(), |line| {
        MACHINE_PATHS.into_iter().find(|needle| holds_absolute(line, needle)).map(str::to_owned)
    })
}

/// Lists `file:line: what` for every line in which something was found.
fn in_lines<'a>(
    files: impl Iterator<Item = &'a TextFile>,
    found: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut offenders = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            offenders.extend(found(line).map(|what| format!("{}:{number}: {what}", file.path)));
        }
    }
    offenders
}

/// Whether an item that is more than a map's entry begins in the first column.
fn begins_item(line: &str) -> bool {
    let mut words = line.split([' ', '<', '(']).filter(|word| !is_prefix(word));
    !line.starts_with(' ') && words.next().is_some_and(|word| ITEMS.contains(&word))
}

/// Visibility, qualifiers, and the rests of both: `pub(in path)` leaves `in` and `path)`.
fn is_prefix(word: &str) -> bool {
    word == "pub"
        || word == "in"
        || word.ends_with(')')
        || word == "extern"
        || word.starts_with('"')
        || QUALIFIERS.contains(&word)
}

/// Whether a path begins with the needle, and does not only contain it further on.
fn holds_absolute(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '}' | ')'))
    })
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> [TextFile; 1] {
        [TextFile::planted(path, text)]
    }

    #[test]
    fn a_rust_file_over_the_limit_is_found_and_one_at_the_limit_is_not() {
        assert_eq!(long_files(&planted("core/a.rs", &"x\n".repeat(600))), [""; 0]);
        let found = long_files(&planted("core/a.rs", &"x\n".repeat(601)));
        assert_eq!(found, ["core/a.rs: 601 lines of 600"]);
        assert_eq!(long_files(&planted("Cargo.lock", &"x\n".repeat(601))), [""; 0]);
    }

    #[test]
    fn wide_lines_are_counted_in_characters_and_all_listed() {
        let (fits, wide) = ("é".repeat(120), "x".repeat(121));
        let found = wide_lines(&planted("a.rs", &format!("{wide}\n{fits}\n{wide}")));
        assert_eq!(found, ["a.rs:1: 121 columns of 120", "a.rs:3: 121 columns of 120"]);
    }

    #[test]
    fn functions_types_and_implementations_in_a_map_are_found() {
        let items = [
            "fn a() {}",
            "pub fn a() {}",
            "pub(crate) async fn a() {}",
            "pub(in crate::a) const unsafe fn a() {}",
            "extern \"C\" fn a() {}",
            "impl<T> A for T {}",
            "unsafe impl A for B {}",
            "pub struct A;",
            "enum A {}",
            "pub trait A {}",
        ];
        for item in items {
            assert_eq!(items_in_maps(&planted("a/lib.rs", item)), [format!("a/lib.rs:1: {item}")]);
            assert_eq!(items_in_maps(&planted("a/mod.rs", item)).len(), 1, "{item}");
            assert_eq!(items_in_maps(&planted("a/other.rs", item)), [""; 0], "{item}");
        }
    }

    #[test]
    fn a_map_may_hold_modules_uses_docs_attributes_and_macros() {
        let map = "//! fn docs\n#![allow(fn)]\n\nmod a;\npub(crate) mod b;\n\
            pub use a::{\n    impl_c,\n};\nuse b::*;\npub type A = B;\n\
            macro_rules! c {\n    () => { fn a() {} };\n}\n// fn d\n";
        assert_eq!(items_in_maps(&planted("a/lib.rs", map)), [""; 0]);
    }

    #[test]
    fn each_kind_of_unfinished_work_is_found_in_rust_alone() {
        for needle in UNFINISHED {
            let text = format!("fine\n    {needle} later");
            assert_eq!(unfinished(&planted("a.rs", &text)), [format!("a.rs:2: {needle}")]);
            assert_eq!(unfinished(&planted("a.md", &text)), [""; 0]);
        }
    }

    #[test]
    fn an_absolute_path_of_a_machine_is_found_in_any_file() {
        for needle in MACHINE_PATHS {
            let text = format!("cd {needle}\nfine\n`{needle}x`\n{needle}");
            let found = machine_paths(&planted("notes.md", &text));
            assert_eq!(found, [1, 3, 4].map(|line| format!("notes.md:{line}: {needle}")));
        }
    }

    #[test]
    fn a_relative_path_or_an_address_with_the_same_words_is_fine() {
        for needle in MACHINE_PATHS {
            let text = format!("docs{needle}a.md ../..{needle} https://example.com{needle}");
            assert_eq!(machine_paths(&planted("notes.md", &text)), [""; 0]);
        }
    }
}
