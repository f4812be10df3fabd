//! The brokers of the scenarios: servers of their own, which nobody else uses.

use crate::servers::{DeadLetter, PATIENCE};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;
use tramline_services::Temporary;
use tramline_services::rabbitmq::Server;

/// How many dead letters are looked at.
const DEAD_MAX: u32 = 100_000;

/// A server of one node.
#[derive(Clone)]
pub(crate) struct Broker(Arc<Held>);

enum Held {
    /// Gone with this program.
    Own(Temporary<Server>),
    /// Somebody else's, who removes it.
    Given(Server),
}

impl Deref for Held {
    type Target = Server;

    fn deref(&self) -> &Server {
        match self {
            Self::Own(server) => server,
            Self::Given(server) => server,
        }
    }
}

/// One part of a broker, with nothing in it before the scenario.
#[derive(Clone)]
pub(crate) struct Vhost {
    broker: Broker,
    name: String,
}

impl Broker {
    /// A new one, or that with this name.
    pub(crate) fn start(name: Option<&str>) -> Result<Self, String> {
        let held = match name {
            None => Server::temporary("crash", &[]).map(Held::Own),
            Some(name) => Server::named(name).and_then(|server| {
                server.up()?;
                Ok(Held::Given(server))
            }),
        };
        held.map(|held| Self(Arc::new(held))).map_err(|error| error.to_string())
    }

    /// A new part of it.
    pub(crate) fn vhost(&self, name: &str) -> Result<Vhost, String> {
        let vhost = Vhost { broker: self.clone(), name: name.to_owned() };
        vhost.remove()?;
        vhost.manage("PUT", &format!("/api/vhosts/{name}"), "{}")?;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        vhost.manage("PUT", &format!("/api/permissions/{name}/guest"), &all.to_string())?;
        Ok(vhost)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&self) -> Result<(), String> {
        self.away(|server| server.kill()).await
    }

    /// Starts it again, on the same data.
    pub(crate) async fn up(&self) -> Result<(), String> {
        self.away(|server| server.up()).await
    }

    /// Runs `rabbitmqctl`.
    pub(crate) async fn ctl(&self, arguments: &'static [&'static str]) -> Result<(), String> {
        self.away(move |server| server.rabbitmqctl(arguments).map(drop)).await
    }

    /// What takes its time must not hold up those who share the runtime.
    async fn away(
        &self,
        act: impl FnOnce(&Server) -> tramline_services::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let held = self.0.clone();
        let acted = tokio::task::spawn_blocking(move || act(&held)).await;
        acted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let url = self.0.url();
        let address = url.split(['@', '/']).find_map(|part| part.parse().ok());
        address.ok_or_else(|| format!("failed to find an address in {url}"))
    }
}

impl Vhost {
    /// Where clients find it; `options` are further ones of the URL, such as `&heartbeat=1`.
    pub(crate) fn url(&self, options: &str) -> String {
        let url = self.broker.0.url().replacen("/%2f", &format!("/{}", self.name), 1);
        format!("{url}{options}")
    }

    /// The same through a proxy that listens on `port`.
    pub(crate) fn url_through(&self, port: u16, options: &str) -> Result<String, String> {
        let address = self.broker.address()?;
        let through = format!("@{}:{port}/", address.ip());
        Ok(self.url(options).replacen(&format!("@{address}/"), &through, 1))
    }

    /// Deletes a queue with all that is in it.
    pub(crate) async fn delete_queue(&self, queue: &str) -> Result<(), String> {
        let vhost = self.clone();
        let path = format!("/api/queues/{}/{queue}", self.name);
        let deleted = tokio::task::spawn_blocking(move || vhost.manage("DELETE", &path, "")).await;
        deleted.map_err(|error| error.to_string())?.map(drop)
    }

    /// The dead letters of these queues, seen without the driver.
    pub(crate) fn dead(&self, queues: &[&'static str]) -> Result<Vec<DeadLetter>, String> {
        let mut dead = Vec::new();
        for queue in queues {
            for message in self.messages(&format!("{queue}-dlq"))? {
                dead.push(letter(queue, &message)?);
            }
        }
        Ok(dead)
    }

    /// How many delayed messages found no target.
    pub(crate) fn undeliverable(&self) -> Result<usize, String> {
        self.messages("tramline.undeliverable").map(|messages| messages.len())
    }

    /// What is in `queue`; nothing, if there is no such queue.
    fn messages(&self, queue: &str) -> Result<Vec<Value>, String> {
        let queues = self.manage("GET", &format!("/api/queues/{}?columns=name", self.name), "")?;
        let queues: Vec<Value> = parsed(&queues)?;
        if !queues.iter().any(|known| known["name"] == queue) {
            return Ok(Vec::new());
        }
        let asked = json!({"count": DEAD_MAX, "ackmode": "ack_requeue_true", "encoding": "auto"});
        let path = format!("/api/queues/{}/{queue}/get", self.name);
        parsed(&self.manage("POST", &path, &asked.to_string())?)
    }

    /// Removes it with all its queues, which takes longer than an answer may where there are many.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listed = self.manage("GET", "/api/vhosts?columns=name", "")?;
            let listed: Vec<Value> = parsed(&listed)?;
            if !listed.iter().any(|vhost| vhost["name"] == *self.name) {
                return Ok(());
            }
            let deleted = self.manage("DELETE", &format!("/api/vhosts/{}", self.name), "");
            if deleted.is_err() && Instant::now() >= deadline {
                return deleted.map(drop);
            }
        }
    }

    fn manage(&self, method: &str, path: &str, body: &str) -> Result<String, String> {
        self.broker.0.manage(method, path, body).map_err(|error| error.to_string())
    }
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("failed to read {text:?}: {error}"))
}

fn letter(queue: &str, message: &Value) -> Result<DeadLetter, String> {
    let strange = || format!("a dead letter of {queue} is strange: {message}");
    let body: Value = parsed(message["payload"].as_str().ok_or_else(strange)?)?;
    let reason = &message["properties"]["headers"]["tramline_dead_reason"];
    Ok(DeadLetter {
        queue: queue.to_owned(),
        number: body["number"].as_u64().ok_or_else(strange)?,
        fails: body["fails"]
            .as_u64()
            .and_then(|fails| fails.try_into().ok())
            .ok_or_else(strange)?,
        // What the broker itself has killed has none.
        reason: reason.as_str().unwrap_or("of the broker").to_owned(),
    })
}
