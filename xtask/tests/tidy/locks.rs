//! The fuzz targets are built from the versions that are shipped.

use crate::tree::TextFile;

const SHIPPED: &str = "Cargo.lock";
const FUZZED: &str = "fuzz/Cargo.lock";

/// Every package in another version than the one that is shipped, and what takes the right one. The
/// fuzz targets have some that nothing else needs.
pub(crate) fn offenders(files: &[TextFile]) -> Vec<String> {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let (Some(shipped), Some(fuzzed)) = (find(SHIPPED), find(FUZZED)) else {
        return vec![format!("{SHIPPED} or {FUZZED} is not there")];
    };
    let shipped: Vec<_> = packages(&shipped.text).collect();
    let other = |(name, version): (&str, &str)| {
        let mut versions = shipped.iter().filter(|(shipped, _)| *shipped == name).peekable();
        let (_, right) = **versions.peek()?;
        let is_shipped = versions.any(|(_, shipped)| *shipped == version);
        (!is_shipped).then(|| {
            format!("{FUZZED}: in `fuzz`, `cargo update {name}@{version} --precise {right}`")
        })
    };
    packages(&fuzzed.text).filter_map(other).collect()
}

/// The packages of a lock file with their versions.
fn packages(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    lock.split("[[package]]").skip(1).filter_map(|package| {
        let value = |key: &str| {
            let quoted = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(quoted.trim_matches('"'))
        };
        Some((value("name = ")?, value("version = ")?))
    })
}

mod tests {
    use super::*;

    fn lock(path: &str, packages: &[(&str, &str)]) -> TextFile {
        let package = |(name, version): &(&str, &str)| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n")
        };
        TextFile::planted(path, &packages.iter().map(package).collect::<String>())
    }

    fn found(fuzzed: &[(&str, &str)]) -> Vec<String> {
        let shipped = [("bytes", "1.12.0"), ("rand", "0.9.1"), ("rand", "0.10.2")];
        offenders(&[lock(SHIPPED, &shipped), lock(FUZZED, fuzzed)])
    }

    #[test]
    fn what_is_shipped_and_what_only_fuzzing_needs_is_fine() {
        assert_eq!(
            found(&[("rand", "0.10.2"), ("rand", "0.9.1"), ("arbitrary", "1.5.0")]),
            [""; 0]
        );
    }

    #[test]
    fn another_version_is_listed_with_what_takes_the_right_one() {
        let expected = "fuzz/Cargo.lock: in `fuzz`, `cargo update bytes@1.13.0 --precise 1.12.0`";
        assert_eq!(found(&[("bytes", "1.13.0"), ("rand", "0.9.1")]), [expected]);
    }

    #[test]
    fn a_lock_file_that_is_not_there_is_told() {
        assert_eq!(offenders(&[lock(SHIPPED, &[])]).len(), 1);
    }
}
