//! A cluster of three members, which nobody else uses.

use crate::servers::PATIENCE;
use std::sync::Arc;
use std::time::Instant;
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
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// A member that is not this one, both counted from 1.
    pub(crate) fn another(&self, than: usize) -> usize {
        1 + than % self.0.nodes().len()
    }

    /// The member that leads `queue`, as the member `asked` tells it; both counted from 1.
    pub(crate) async fn leader_of(
        &self,
        queue: &'static str,
        asked: usize,
    ) -> Result<usize, String> {
        self.away(move |cluster| {
            let list = ["list_queues", "--quiet", "name", "leader"];
            let listed = cluster.rabbitmqctl(asked, &list)?;
            let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue));
            let leads = |node: &String| line.is_some_and(|line| line.contains(node.as_str()));
            Ok(cluster.nodes().iter().position(leads).map(|index| index + 1))
        })
        .await?
        .ok_or_else(|| format!("nobody leads the queue {queue}"))
    }

    /// Waits until all members have a server of every quorum queue: then any one of them can be spared.
    pub(crate) async fn complete(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Each look takes a second or two.
            let lacks = self.away(lacks).await;
            match lacks.as_deref() {
                Ok("[]") => return Ok(()),
                _ if Instant::now() < deadline => {}
                Ok(queues) => {
                    return Err(format!("within {PATIENCE:?} these were not everywhere: {queues}"));
                }
                Err(error) => return Err(error.to_owned()),
            }
        }
    }

    /// Lets the servers that all members but `leader` have of `queue` do nothing, so that they elect
    /// nobody when that dies; or lets those go on that are there.
    pub(crate) async fn hold(
        &self,
        queue: &'static str,
        leader: usize,
        holds: bool,
    ) -> Result<(), String> {
        let (act, asked) = (if holds { "suspend" } else { "resume" }, self.another(leader));
        self.away(move |cluster| {
            let nodes = cluster.nodes();
            let told = format!(
                "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
                 {{Server, _}} = amqqueue:get_pid(Q), \
                 Others = lists:delete('{}', rabbit_nodes:all_running()), \
                 [ok = rpc:call(Node, sys, {act}, [Server]) || Node <- Others].",
                nodes[leader - 1]
            );
            cluster.rabbitmqctl(asked, &["eval", &told]).map(drop)
        })
        .await
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

/// The quorum queues that a member has no server of, as a list in the words of the broker.
fn lacks(cluster: &Cluster) -> tramline_services::Result<String> {
    let nodes: Vec<String> = cluster.nodes().iter().map(|node| format!("'{node}'")).collect();
    let told = format!(
        "Lacks = fun(Q) -> {{Server, _}} = amqqueue:get_pid(Q), lists:any(fun(Node) -> \
             not is_pid(rpc:call(Node, erlang, whereis, [Server], 5000)) end, [{}]) end, \
         [element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(), \
             amqqueue:get_type(Q) =:= rabbit_quorum_queue, Lacks(Q)].",
        nodes.join(", ")
    );
    cluster.rabbitmqctl(1, &["eval", &told]).map(|told| told.trim().to_owned())
}
