//! What every crate takes from the workspace instead of saying it itself.

use crate::tree::TextFile;

const INHERITED: [(&str, &str); 4] =
    [("package", "edition"), ("package", "rust-version"), ("package", "license"), ("lints", "")];

/// Every crate's manifest that does not inherit what it should, with what it lacks. The root of a
/// workspace has nothing to inherit from.
pub(crate) fn offenders(files: &[TextFile]) -> Vec<String> {
    let is_root = |manifest: &TextFile| manifest.text.lines().any(|line| line == "[workspace]");
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let manifests = manifests.filter(|manifest| !is_root(manifest));
    manifests
        .flat_map(|manifest| {
            let lacks = |&&(table, key): &&(&str, &str)| !inherits(&manifest.text, table, key);
            INHERITED.iter().filter(lacks).map(|(table, key)| {
                let dot = if key.is_empty() { "" } else { "." };
                format!("{}: [{table}] lacks `{key}{dot}workspace = true`", manifest.path)
            })
        })
        .collect()
}

/// Whether a table of a manifest takes a key, or with no key the whole table, from the workspace.
fn inherits(manifest: &str, table: &str, key: &str) -> bool {
    let header = format!("[{table}]");
    let compact = |line: &str| line.replace([' ', '\t'], "");
    let accepted = match key {
        "" => vec!["workspace=true".to_owned()],
        key => vec![format!("{key}.workspace=true"), format!("{key}={{workspace=true}}")],
    };
    let lines = manifest.lines().map(|line| compact(line.split('#').next().unwrap_or_default()));
    lines
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| accepted.contains(&line))
}

mod tests {
    use super::*;

    const SOUND: &str = "[package]\nname = \"a\"\nedition.workspace = true # one for all\n\
        rust-version = { workspace = true }\nlicense.workspace = true\n\n\
        [lints]\nworkspace = true\n";

    fn found(manifest: &str) -> Vec<String> {
        offenders(&[TextFile::planted("a/Cargo.toml", manifest)])
    }

    #[test]
    fn a_manifest_that_inherits_everything_is_fine_in_both_spellings() {
        assert_eq!(found(SOUND), [""; 0]);
    }

    #[test]
    fn all_that_a_manifest_says_itself_is_listed() {
        let own = SOUND.replace("edition.workspace = true", "edition = \"2021\"");
        let own = own.replace("[lints]", "[dependencies.serde]");
        let expected = [
            "a/Cargo.toml: [package] lacks `edition.workspace = true`",
            "a/Cargo.toml: [lints] lacks `workspace = true`",
        ];
        assert_eq!(found(&own), expected);
    }

    #[test]
    fn a_key_in_another_table_or_in_a_comment_does_not_count() {
        let elsewhere = SOUND.replace("license.workspace", "# license.workspace")
            + "[package.metadata]\nlicense.workspace = true\n";
        assert_eq!(found(&elsewhere), ["a/Cargo.toml: [package] lacks `license.workspace = true`"]);
    }

    #[test]
    fn a_workspace_of_its_own_has_nothing_to_inherit_from() {
        assert_eq!(found("[package]\nname = \"a\"\n\n[workspace]\n"), [""; 0]);
        assert_eq!(found("[package]\nname = \"a\"\n\n[workspace.lints]\n").len(), 4);
    }

    #[test]
    fn the_manifest_of_the_workspace_is_where_they_inherit_from() {
        assert_eq!(offenders(&[TextFile::planted("Cargo.toml", "[workspace]\n")]), [""; 0]);
    }
}
