//! A vhost for each test, and what a test sees of it beside the driver.

use super::unique;
use crate::rabbitmq::{Management, shared_url};
use crate::{Answer, or_skip};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use url::Url;

/// A vhost of the test's own, gone when it is dropped.
pub struct Vhost {
    /// Its name, which no other has had.
    pub name: String,
    /// Its URL for clients, the management API included.
    pub url: Url,
    management: Management,
}

impl Vhost {
    /// An empty one. `None`, and told, where there is no broker.
    ///
    /// # Panics
    /// … and `cargo xtask test --require` forbids to pass it over.
    pub fn fresh() -> Option<Self> {
        Some(Self::on(broker()?))
    }

    /// An empty one on the broker at `url`.
    pub fn on(mut url: Url) -> Self {
        let management = or_skip(Management::of(url.as_str())).unwrap();
        let name = unique();
        url.set_path(&format!("/{name}"));
        let vhost = Self { name, url, management };
        vhost.ask("PUT", &format!("/api/vhosts/{}", vhost.name), Some("{}"));
        vhost.permit(vhost.management.user(), ".*", ".*", ".*");
        vhost
    }

    /// Replaces what a user may do in it.
    pub fn permit(&self, user: &str, configure: &str, write: &str, read: &str) {
        let rights = json!({ "configure": configure, "write": write, "read": read });
        let path = format!("/api/permissions/{}/{user}", self.name);
        self.ask("PUT", &path, Some(&rights.to_string()));
    }

    /// The URL with another option.
    pub fn url_with(&self, name: &str, value: &str) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair(name, value);
        url.into()
    }

    /// Another client, which knows nothing of us.
    pub async fn raw(&self) -> Raw {
        let mut url = self.url.clone();
        url.set_query(None);
        let connected = Connection::connect(url.as_str(), ConnectionProperties::default()).await;
        let connection = connected.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Raw { connection, channel }
    }

    /// What the management API answers to a GET of `path` under this vhost, such as `queues` or
    /// `queues/{vhost}/work`.
    pub fn get(&self, path: &str) -> Value {
        let path = path.replace("{vhost}", &self.name);
        let answer = self.ask("GET", &format!("/api/{path}"), None);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// The queue as the management API shows it; `Null` if there is none.
    pub fn queue(&self, name: &str) -> Value {
        let listed = self.get("queues/{vhost}");
        let found = listed.as_array().unwrap().iter().find(|queue| queue["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// The exchange as the management API shows it; `Null` if there is none.
    pub fn exchange(&self, name: &str) -> Value {
        let listed = self.get("exchanges/{vhost}");
        let found = listed.as_array().unwrap().iter().find(|exchange| exchange["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// `source → destination (key)` of every binding that is not the default exchange's, in order.
    pub fn bindings(&self) -> Vec<String> {
        let listed = self.get("bindings/{vhost}");
        let listed = listed.as_array().unwrap().iter().filter(|binding| binding["source"] != "");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let shown = listed.map(|binding| {
            let ends = (text(&binding["source"]), text(&binding["destination"]));
            let arguments = match binding["arguments"].as_object() {
                Some(arguments) if !arguments.is_empty() => format!(" {}", binding["arguments"]),
                _ => String::new(),
            };
            format!("{} → {} ({}){arguments}", ends.0, ends.1, text(&binding["routing_key"]))
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    }

    /// Cuts every connection to this vhost off that the broker knows of. Answers how many.
    pub fn cut_all(&self) -> usize {
        let connections = self.get("vhosts/{vhost}/connections");
        let connections = connections.as_array().unwrap();
        for connection in connections {
            let name = connection["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
            self.ask("DELETE", &format!("/api/connections/{name}"), None);
        }
        connections.len()
    }

    /// Asks the management API. The body of the answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> String {
        let answer = self.management.ask(method, path, body.unwrap_or_default()).unwrap();
        let Answer { status, body } = answer;
        assert!(matches!(status, 200..=299 | 404), "{method} {path}: {status}: {body}");
        body
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        self.ask("DELETE", &format!("/api/vhosts/{}", self.name), None);
    }
}

/// A channel of a client that is not ours.
pub struct Raw {
    /// Its connection.
    pub connection: Connection,
    /// A channel of that.
    pub channel: Channel,
}

/// Where the broker is that tests share. `None`, and told, where there is none.
///
/// # Panics
/// … and `cargo xtask test --require` forbids to pass it over.
pub fn broker() -> Option<Url> {
    let url = or_skip(shared_url())?;
    Some(url.parse().unwrap_or_else(|error| panic!("the broker's URL: {error}")))
}
