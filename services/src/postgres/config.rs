//! What a server is told: one port on loopback alone, and files nowhere but in its own folder.

use std::path::Path;

/// Members of this role need their passwords; everybody else is trusted.
pub(crate) const BY_PASSWORD: &str = "tramline_by_password";

/// `pg_hba.conf`; the first line that fits holds.
pub(crate) fn access() -> String {
    format!(
        "host all +{BY_PASSWORD} 127.0.0.1/32 scram-sha-256\n\
         host all all 127.0.0.1/32 trust\n\
         host replication all 127.0.0.1/32 trust\n"
    )
}

/// `postgresql.conf`; settings of the caller hold last.
pub(crate) fn text(port: u16, access: &Path, settings: &[(&str, &str)]) -> String {
    let (listened, named, access) = (port.to_string(), title(port), access.to_string_lossy());
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &*listened),
        // Its path could be too long for one.
        ("unix_socket_directories", ""),
        ("hba_file", &*access),
        ("cluster_name", &*named),
        ("max_connections", "200"),
        ("wal_level", "logical"),
        // What is promised and measured is to hold on a server that keeps its own promise.
        ("fsync", "on"),
    ];
    let lines = ours.iter().chain(settings);
    lines.map(|(key, value)| format!("{key} = '{}'\n", value.replace('\'', "''"))).collect()
}

/// What the titles of the server's processes begin with, behind `postgres: `. No other server of this
/// machine has it, because no other has the port.
pub(crate) fn title(port: u16) -> String {
    format!("tramline-{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_caller_come_last_and_are_quoted() {
        let text = text(20_000, Path::new("hba"), &[("fsync", "off"), ("search_path", "it's")]);
        assert!(text.contains("port = '20000'\n"), "{text}");
        assert!(text.ends_with("fsync = 'on'\nfsync = 'off'\nsearch_path = 'it''s'\n"), "{text}");
    }
}
