//! What a server is told: one port on loopback alone, and files nowhere but in its own folder.

/// `postgresql.conf`; settings of the caller hold last.
pub(crate) fn text(port: u16, settings: &[(&str, &str)]) -> String {
    let (listened, named) = (port.to_string(), title(port));
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &*listened),
        // Its path could be too long for one.
        ("unix_socket_directories", ""),
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
        let text = text(20_000, &[("fsync", "off"), ("search_path", "it's")]);
        assert!(text.contains("port = '20000'\n"), "{text}");
        assert!(text.ends_with("fsync = 'on'\nfsync = 'off'\nsearch_path = 'it''s'\n"), "{text}");
    }
}
