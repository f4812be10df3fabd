//! What a node is told: ports on loopback alone, and files nowhere but in its own folder.

use crate::certificates::Certificates;
use std::path::{Path, PathBuf};

/// The ports of one node, all counted from its first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ports {
    pub(crate) amqp: u16,
}

impl Ports {
    pub(crate) fn between_nodes(self) -> u16 {
        self.amqp + 1
    }

    pub(crate) fn management(self) -> u16 {
        self.amqp + 2
    }

    pub(crate) fn amqps(self) -> u16 {
        self.amqp + 3
    }

    /// All that the node itself listens on.
    pub(crate) fn all(self) -> [u16; 4] {
        [self.amqp, self.between_nodes(), self.management(), self.amqps()]
    }

    pub(crate) fn node(self) -> String {
        format!("rmq{}@localhost", self.amqp)
    }
}

/// `advanced.config`: what a queue hands on at least once, and the next queue does not take because its
/// leader has just died, is tried again within twenty seconds; RabbitMQ's own choice is up to six
/// minutes.
pub(crate) const ADVANCED: &str =
    "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n";

/// `rabbitmq.conf` of a node of a cluster, or of one that is alone; settings of the caller hold last.
pub(crate) fn text(
    ports: Ports,
    certificates: &Certificates,
    cluster: &[Ports],
    settings: &[(String, String)],
) -> String {
    let mut lines = vec![
        format!("listeners.tcp.1 = 127.0.0.1:{}", ports.amqp),
        format!("listeners.ssl.1 = 127.0.0.1:{}", ports.amqps()),
        format!("ssl_options.cacertfile = {}", certificates.ca().display()),
        format!("ssl_options.certfile = {}", certificates.server().display()),
        format!("ssl_options.keyfile = {}", certificates.server_key().display()),
        // A client may come without a certificate, but not with one of somebody else.
        "ssl_options.verify = verify_peer".to_owned(),
        "ssl_options.fail_if_no_peer_cert = false".to_owned(),
        "management.tcp.ip = 127.0.0.1".to_owned(),
        format!("management.tcp.port = {}", ports.management()),
        // Of a small machine: what else fills its disk is no reason to block publishers.
        "disk_free_limit.absolute = 50MB".to_owned(),
    ];
    if !cluster.is_empty() {
        lines.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
        lines.push("cluster_partition_handling = pause_minority".to_owned());
    }
    lines.extend(cluster.iter().enumerate().map(|(index, member)| {
        let number = index + 1;
        format!("cluster_formation.classic_config.nodes.{number} = {}", member.node())
    }));
    let is_changed = |line: &String| {
        settings.iter().any(|(key, _)| line.split(" = ").next() == Some(key.as_str()))
    };
    lines.retain(|line| !is_changed(line));
    lines.extend(settings.iter().map(|(key, value)| format!("{key} = {value}")));
    lines.join("\n") + "\n"
}

/// Lines of `rabbitmq.conf` to keep.
pub(crate) fn settings(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Where everything of one node is.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folders that the node writes to; all others are not its own.
    pub(crate) fn written(&self) -> [PathBuf; 4] {
        [self.home(), self.data(), self.logs(), self.generated()]
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    pub(crate) fn cookie(&self) -> PathBuf {
        self.home().join(".erlang.cookie")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn generated(&self) -> PathBuf {
        self.folder.join("generated")
    }

    pub(crate) fn pid(&self) -> PathBuf {
        self.data().join("pid")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What the node logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.logs().join("rabbitmq.log")
    }

    /// What it prints before it can log.
    pub(crate) fn printed(&self) -> PathBuf {
        self.folder.join("printed.log")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("rabbitmq.conf")
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.folder.join("enabled_plugins")
    }

    /// The environment of the server and of its command line tools. Whatever is not said here is
    /// read below `/etc/rabbitmq` and written below `/var/lib/rabbitmq`, which is somebody else's.
    pub(crate) fn environment(&self, ports: Ports, epmd: u16) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.display().to_string();
        let generated = path(&self.generated());
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}".to_owned();
        vec![
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOME", path(&self.home())),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            // It may be told to end before it has noticed that the last node was killed.
            ("ERL_EPMD_RELAXED_COMMAND_CHECK", "true".to_owned()),
            // What a node that cannot start says is enough.
            ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
            ("RABBITMQ_CONF_ENV_FILE", path(&self.folder.join("rabbitmq-env.conf"))),
            ("RABBITMQ_NODENAME", ports.node()),
            ("RABBITMQ_DIST_PORT", ports.between_nodes().to_string()),
            ("RABBITMQ_MNESIA_BASE", path(&self.data())),
            ("RABBITMQ_MNESIA_DIR", path(&self.data().join("node"))),
            ("RABBITMQ_FEATURE_FLAGS_FILE", path(&self.data().join("feature_flags"))),
            ("RABBITMQ_LOG_BASE", path(&self.logs())),
            ("RABBITMQ_LOGS", path(&self.log())),
            ("RABBITMQ_CONFIG_FILE", path(&self.config())),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path(&self.folder.join("advanced.config"))),
            ("RABBITMQ_GENERATED_CONFIG_DIR", generated.clone()),
            ("RABBITMQ_SCHEMA_DIR", generated),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path(&self.plugins())),
            ("RABBITMQ_PID_FILE", path(&self.pid())),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback.clone()),
            ("RABBITMQ_CTL_ERL_ARGS", loopback),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cluster: &[Ports], settings: &[(&str, &str)]) -> String {
        let certificates = Certificates::in_folder("certificates".into());
        text(Ports { amqp: 20_000 }, &certificates, cluster, &super::settings(settings))
    }

    #[test]
    fn a_node_listens_on_loopback_alone() {
        let text = told(&[], &[]);
        let addresses = ["tcp.1 = 127.0.0.1:20000", "ssl.1 = 127.0.0.1:20003"];
        assert!(addresses.iter().all(|address| text.contains(address)), "{text}");
        assert!(text.contains("management.tcp.ip = 127.0.0.1\n"), "{text}");
        assert!(!text.contains("cluster"), "{text}");
    }

    #[test]
    fn a_setting_takes_the_place_of_ours() {
        let text = told(&[], &[("ssl_options.fail_if_no_peer_cert", "true"), ("heartbeat", "5")]);
        assert!(text.contains("fail_if_no_peer_cert = true\n"), "{text}");
        assert!(!text.contains("fail_if_no_peer_cert = false"), "{text}");
        assert!(text.ends_with("heartbeat = 5\n"), "{text}");
    }

    #[test]
    fn the_nodes_of_a_cluster_know_each_other() {
        let text = told(&[20_000, 20_010].map(|amqp| Ports { amqp }), &[]);
        assert!(text.contains("classic_config.nodes.2 = rmq20010@localhost\n"), "{text}");
    }
}
