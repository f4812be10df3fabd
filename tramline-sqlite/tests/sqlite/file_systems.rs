//! Files on network file systems.

use crate::children::{CHILD_FOLDER, assert_passed, run_with_mounts};
use crate::kit::Place;
use std::path::Path;
use tramline_core::ErrorKind;
use tramline_sqlite::Sqlite;

/// Not a test by itself: what the test below starts.
#[tokio::test]
async fn on_a_network_file_system() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let path = Path::new(&folder).join("bus.db");
    let error = Sqlite::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    for part in ["bus.db", "network file system (nfs4)", "local disk", "on_any_file_system"] {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
    assert!(!path.exists(), "it was made all the same");
    Sqlite::options(&path).on_any_file_system().open().await.unwrap();
}

#[test]
fn a_file_on_a_network_file_system_is_refused_unless_somebody_knows_better() {
    let place = Place::new();
    let forge = "echo \"9 1 0:9 / $TRAMLINE_TEST_FOLDER rw - nfs4 host:/ rw\" > mounts
         mount --bind mounts /proc/$$/mountinfo";
    let child = "file_systems::on_a_network_file_system";
    if let Some(output) = run_with_mounts(forge, child, &place) {
        assert_passed(output);
    }
}
