//! Nothing of a connection stays behind, as Linux shows the sockets of a process.

use crate::kit::Vhost;
use crate::proxy::Proxy;
use crate::topologies::shown;
use std::time::Duration;
use tramline_core::topology::Topology;
use tramline_core::transport::Transport;
use tramline_rabbitmq::RabbitMq;
use url::Url;

/// For who does not wait for the end of an attempt.
const SOON: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_attempt_that_was_given_up_leaves_no_socket_behind() {
    // The operating system takes the connection, and nobody ever answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["amqp", "amqps"] {
        let url = format!("{scheme}://127.0.0.1:{port}/?connect_limit=1");
        RabbitMq::connect(&url).await.expect_err("nobody answers");
        let abandoned = tokio::time::timeout(SOON, RabbitMq::connect(&url)).await;
        assert!(abandoned.is_err(), "nobody answers");
    }
    let taken: Vec<_> = listener.incoming().take(4).flatten().collect();
    shown("no socket", || (sockets_to(port) == 0).then_some(())).await;
    assert_eq!(taken.len(), 4, "they were there, and were not closed from this side");
}

#[tokio::test]
async fn a_connection_whose_close_the_broker_does_not_read_leaves_no_socket_behind() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::before(&vhost).await;
    let mut url: Url = proxy.url.parse().unwrap();
    // Else the broker ends it, after which nothing is left either.
    url.query_pairs_mut().append_pair("heartbeat", "600");
    let port = url.port().unwrap();
    let rabbitmq = RabbitMq::connect(url.as_str()).await.unwrap();
    let sockets = |count| move || (sockets_to(port) == count).then_some(());
    shown("two connections", sockets(2)).await;
    proxy.deafen();
    rabbitmq.cut().await;
    rabbitmq.declare(&Topology::default()).await.unwrap();
    shown("two connections again, and no more", sockets(2)).await;
    // One more was there for what is declared.
    assert_eq!(proxy.connections(), 5);
    drop(rabbitmq);
    shown("no connection", sockets(0)).await;
}

/// How many sockets of this process to `port` here are open.
fn sockets_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let there = format!("0100007F:{port:04X}");
    // The address there, and the inode, which is none once the socket was closed.
    let is_open = |columns: &Vec<&str>| columns[2] == there && columns[9] != "0";
    table.lines().map(|line| line.split_whitespace().collect()).filter(is_open).count()
}
