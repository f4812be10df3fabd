//! PostgreSQL's programs, of which Debian installs each major version beside the others.

use crate::install::Package;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const VERSIONS: &str = "/usr/lib/postgresql";

pub(crate) const PACKAGE: Package = Package {
    kind: "postgres",
    name: "postgresql",
    program: "/usr/lib/postgresql/*/bin/postgres",
    is_installed: || newest(Path::new(VERSIONS)).is_some(),
    // The package sets up and starts a server of the system's own, unless it is told not to.
    meanwhile: Some((
        "/etc/postgresql-common/createcluster.d/tramline.conf",
        "create_main_cluster = false\n",
    )),
    in_container: true,
};

/// The program `name` of the newest version that is installed.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let missing = || Error::failed(format!("failed to find {}", PACKAGE.program));
    newest(Path::new(VERSIONS)).map(|programs| programs.join(name)).ok_or_else(missing)
}

/// The folder with the programs of the newest version in `folder`.
fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("postgres").exists().then_some((version, programs))
    });
    versions.max().map(|(_, programs)| programs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_version_is_the_highest_number_that_has_a_server() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        let programs = |version: &str| folder.path().join(version).join("bin");
        for (version, program) in [("9", "postgres"), ("15", "postgres"), ("16", "psql")] {
            fs::create_dir_all(programs(version)).unwrap();
            fs::write(programs(version).join(program), "").unwrap();
        }
        assert_eq!(newest(folder.path()), Some(programs("15")));
    }
}
