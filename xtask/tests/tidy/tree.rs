//! The files of the workspace, as git knows them or else as the folder holds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One file; its path is relative to the workspace and uses `/`.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// The workspace that cargo runs this test for. It is asked for now: a test binary outlives the
/// checkout it was built in when several share one target folder.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("start it through cargo");
    Path::new(&package).parent().expect("xtask lies in the workspace's root").to_owned()
}

/// Every file below `root`. What git lists but somebody has just deleted is left out; what is not
/// UTF-8 is read as far as it can be.
pub(crate) fn files(root: &Path) -> Vec<TextFile> {
    let paths = tracked(root).unwrap_or_else(|| walked(root));
    let read = |path: String| {
        let bytes = fs::read(root.join(&path)).ok()?;
        Some(TextFile { path, text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    paths.into_iter().filter_map(read).collect()
}

/// What git tracks, or nothing when this is no checkout or there is no git.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let list = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// Every file of the folder but those of git and of the build.
fn walked(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root.join(&folder)).expect("failed to list a folder");
        for entry in entries {
            let entry = entry.expect("failed to read a folder's entry");
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().expect("failed to read the type of a file");
            if kind.is_dir() && path != ".git" && path != "target" {
                folders.push(path + "/");
            } else if kind.is_file() {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
}

mod tests {
    use super::*;

    #[test]
    fn a_folder_without_git_is_walked_but_for_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["Cargo.toml", "core/src/lib.rs", "target/debug/x.rs", ".git/HEAD"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        let files = files(folder.path());
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["Cargo.toml", "core/src/lib.rs"]);
    }
}
