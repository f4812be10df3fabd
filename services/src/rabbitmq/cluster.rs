//! A cluster of three nodes on this machine.

use super::config::{self, Files, Ports};
use super::management::Management;
use super::node::{self, Node};
use super::url;
use crate::catalog::Name;
use crate::certificates::Certificates;
use crate::folder::Folder;
use crate::install::Package;
use crate::ports::EACH;
use crate::{Error, Install, Member, Result, Service, State, Temporary, temporary};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What one of them needs; `compose.yaml` has no cluster.
const PACKAGE: Package = Package { kind: "rabbitmq-cluster", in_container: false, ..node::PACKAGE };

/// A majority is left when one is killed.
const MEMBERS: u16 = 3;

/// How long nodes that serve clients may take to find each other.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Three RabbitMQ nodes that form a cluster, set up but not necessarily running; dropping this
/// changes nothing. A minority that is cut off pauses.
pub struct Cluster {
    folder: Folder,
    nodes: Vec<Node>,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// The cluster `rabbitmq-cluster@INSTANCE` of this checkout; see [`Server::named`](super::Server::named).
    ///
    /// # Errors
    /// If `instance` is no word of small letters, digits and `-`, or its folder cannot be created.
    pub fn named(instance: &str) -> Result<Self> {
        Self::open(&Name::of(PACKAGE.kind, instance)?.service())
    }

    /// A cluster for one test alone; see [`Server::temporary`](super::Server::temporary).
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub fn temporary(word: &str, settings: &[(&str, &str)]) -> Result<Temporary<Self>> {
        let mut cluster = Self::open(&temporary(PACKAGE.kind, word)?.service())?;
        cluster.settings = config::settings(settings);
        let cluster = Temporary::new(cluster);
        cluster.up()?;
        Ok(cluster)
    }

    pub(crate) fn open(name: &str) -> Result<Self> {
        let folder = Folder::named(name)?;
        let first = folder.port_for(MEMBERS)?;
        let cluster: Vec<Ports> =
            (0..MEMBERS).map(|index| Ports { amqp: first + index * EACH }).collect();
        let node = |(index, ports): (usize, &Ports)| {
            let number = index + 1;
            Node {
                name: format!("{name}/{number}"),
                files: Files::new(folder.path().join(number.to_string())),
                ports: *ports,
                epmd: first + 4,
                certificates: Certificates::in_folder(folder.path().join("certificates")),
                cluster: cluster.clone(),
            }
        };
        let nodes = cluster.iter().enumerate().map(node).collect();
        Ok(Self { folder, nodes, settings: Vec::new() })
    }

    /// Sees to it that all members run, serve clients and have found each other. It installs nothing.
    ///
    /// # Errors
    /// [`Absent`](Error::Absent) if RabbitMQ is not installed; otherwise why a member does not start.
    pub fn up(&self) -> Result<()> {
        Service::up(self, Install::Never).map(drop)
    }

    /// SIGKILL for one member, counted from 1.
    ///
    /// # Errors
    /// If there is no such member or its process cannot be signalled.
    pub fn kill(&self, member: usize) -> Result<()> {
        Service::kill(self, Some(member)).map(drop)
    }

    /// The URL that names all members.
    pub fn url(&self) -> String {
        let others: Vec<Ports> = self.nodes[1..].iter().map(|node| node.ports).collect();
        url::amqp_of_all(self.nodes[0].ports, &others)
    }

    /// The name of each member's node, as the broker tells it: `rmq20000@localhost`.
    pub fn nodes(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.ports.node()).collect()
    }

    /// Runs `rabbitmqctl` for one member, counted from 1; takes a second or two.
    ///
    /// # Errors
    /// If there is no such member, or it ends with an error, with what it said.
    pub fn rabbitmqctl(&self, member: usize, arguments: &[&str]) -> Result<String> {
        self.member(member)?.ctl(arguments)
    }

    fn member(&self, number: usize) -> Result<&Node> {
        let node = number.checked_sub(1).and_then(|index| self.nodes.get(index));
        node.ok_or_else(|| {
            let name = self.folder.name();
            Error::failed(format!("{name} has no member {number}, only 1 to {MEMBERS}"))
        })
    }

    /// True if any of them ran.
    fn kill_all(&self) -> Result<bool> {
        self.nodes.iter().try_fold(false, |any, node| Ok(node.kill()? | any))
    }

    /// Waits until every member sees all of them run.
    fn wait_for_each_other(&self) -> Result<()> {
        let deadline = Instant::now() + JOIN_LIMIT;
        for node in &self.nodes {
            while running(node.ports) < self.nodes.len() {
                if Instant::now() >= deadline {
                    let (name, log) = (&node.name, node.files.log());
                    let (seconds, log) = (JOIN_LIMIT.as_secs(), log.display());
                    return Err(Error::failed(format!(
                        "{name} does not see all of its cluster after {seconds} s; its log: {log}"
                    )));
                }
                sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }
}

impl Service for Cluster {
    fn up(&self, install: Install) -> Result<bool> {
        let _lock = self.folder.lock()?;
        if self.nodes.iter().all(|node| matches!(node.state(), State::Up(_))) {
            return Ok(false);
        }
        self.folder.keep(self.nodes[0].ports.amqp)?;
        PACKAGE.provide(install)?;
        let secret = self.folder.secret()?;
        let mut starting = Vec::new();
        for node in &self.nodes {
            starting.push((node, node.start(&self.settings, &secret)?));
        }
        for (node, starting) in starting {
            node.wait(starting)?;
        }
        self.wait_for_each_other()?;
        Ok(true)
    }

    fn down(&self) -> Result<()> {
        let _lock = self.folder.lock()?;
        // All at once: each takes seconds.
        std::thread::scope(|scope| {
            let stop = |node| scope.spawn(move || Node::stop(node));
            let stopping: Vec<_> = self.nodes.iter().map(stop).collect();
            stopping.into_iter().try_for_each(|stop| {
                stop.join().unwrap_or_else(|_| Err(Error::failed("failed to stop a member")))
            })
        })?;
        self.nodes[0].stop_name_server()
    }

    fn kill(&self, member: Option<usize>) -> Result<bool> {
        match member {
            Some(number) => self.member(number)?.kill(),
            None => self.kill_all(),
        }
    }

    fn wipe(&self) -> Result<()> {
        let lock = self.folder.lock()?;
        self.kill_all()?;
        self.nodes[0].stop_name_server()?;
        self.folder.remove(lock)
    }

    fn status(&self) -> Vec<Member> {
        let member = |node: &Node| {
            let (name, url) = (node.name.clone(), url::amqp(node.ports));
            Member { name, state: node.state(), url }
        };
        self.nodes.iter().map(member).collect()
    }

    fn urls(&self) -> String {
        self.url()
    }
}

/// How many members run, as one of them sees it.
fn running(ports: Ports) -> usize {
    let path = "/api/nodes?columns=running";
    let answer = Management::on_loopback(ports).ask("GET", path, "");
    answer.map_or(0, |answer| answer.body.matches(r#""running":true"#).count())
}
