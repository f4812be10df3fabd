//! Places many orders over several connections, as fast as the service can follow.

use super::client::Client;
use crate::order::Order;
use crate::trouble::Trouble;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// HTTP/1.1 has one request in flight per connection: as many as share a commit.
const CONNECTIONS: usize = 96;

/// Orders that are being placed. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Poster {
    connections: JoinSet<Result<(), Trouble>>,
}

impl Poster {
    /// Places `orders`, in their order as far as connections have one. Holds back while `open` is
    /// false.
    pub(crate) fn start(
        address: SocketAddr,
        orders: Vec<Order>,
        open: &watch::Receiver<bool>,
    ) -> Self {
        let orders = Arc::new(orders);
        let next = Arc::new(AtomicUsize::new(0));
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS.min(orders.len()) {
            let (client, open) = (Client::new(address), open.clone());
            connections.spawn(post(client, orders.clone(), next.clone(), open));
        }
        Self { connections }
    }

    /// Ends when all orders were accepted, or the first one was not. Cancel-safe.
    pub(crate) async fn finished(&mut self) -> Result<(), Trouble> {
        while let Some(ended) = self.connections.join_next().await {
            ended.map_err(Trouble::broken)??;
        }
        Ok(())
    }

    /// Whether all orders were accepted.
    pub(crate) fn is_finished(&self) -> bool {
        self.connections.is_empty()
    }
}

async fn post(
    mut client: Client,
    orders: Arc<Vec<Order>>,
    next: Arc<AtomicUsize>,
    mut open: watch::Receiver<bool>,
) -> Result<(), Trouble> {
    loop {
        // Closed for ever means that nobody watches the backlog any more: the run is over.
        if open.wait_for(|open| *open).await.is_err() {
            return Ok(());
        }
        let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return Ok(());
        };
        let body = serde_json::to_vec(order).map_err(Trouble::broken)?;
        client.post(Bytes::from(body)).await.map_err(|why| {
            Trouble::broken(format!("failed to place order {}: {why}", order.order_id))
        })?;
    }
}
