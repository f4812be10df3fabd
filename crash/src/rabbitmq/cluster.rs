//! A cluster of three members, which nobody else uses.

use std::sync::Arc;
use tramline_services::Temporary;
use tramline_services::rabbitmq::Cluster;

/// Three nodes, gone with this program.
#[derive(Clone)]
pub(crate) struct Members(Arc<Temporary<Cluster>>);

impl Members {
    pub(crate) fn start() -> Result<Self, String> {
        let started = Cluster::temporary("crash", &[]);
        started.map(|cluster| Self(Arc::new(cluster))).map_err(|error| error.to_string())
    }

    /// A URL that names all members.
    pub(crate) fn url(&self) -> Result<String, String> {
        let urls = self.0.urls();
        let host = |url: &str| Some(url.split_once('@')?.1.split_once('/')?.0.to_owned());
        let hosts: Option<Vec<String>> = urls.iter().map(|url| host(url)).collect();
        let (first, hosts) = urls.first().zip(hosts).ok_or("the cluster has no members")?;
        Ok(first.replacen(&format!("@{}/", hosts[0]), &format!("@{}/", hosts.join(",")), 1))
    }

    /// The member that leads `queue`, counted from 1.
    pub(crate) async fn leader_of(&self, queue: &'static str) -> Result<usize, String> {
        self.away(move |cluster| {
            let listed = cluster.rabbitmqctl(1, &["list_queues", "--quiet", "name", "leader"])?;
            let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue));
            let leads = |node: &String| line.is_some_and(|line| line.contains(node.as_str()));
            Ok(cluster.nodes().iter().position(leads).map(|index| index + 1))
        })
        .await?
        .ok_or_else(|| format!("nobody leads the queue {queue}"))
    }

    /// SIGKILL for one member, counted from 1.
    pub(crate) async fn kill(&self, member: usize) -> Result<(), String> {
        self.away(move |cluster| cluster.kill(member)).await
    }

    /// Starts those again that do not run.
    pub(crate) async fn up(&self) -> Result<(), String> {
        self.away(Cluster::up).await
    }

    async fn away<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Cluster) -> tramline_services::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let cluster = self.0.clone();
        let acted = tokio::task::spawn_blocking(move || act(&cluster)).await;
        acted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
