//! What is connected to, and within which bounds.

use crate::capabilities::capabilities;
use crate::tls::Tls;
use std::fmt;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::capabilities::Capabilities;
use tramline_core::topology::QueueSpec;

/// How to reach a broker, and how much may be under way.
///
/// ```
/// use tramline_rabbitmq::RabbitMqOptions;
///
/// let options = RabbitMqOptions::from_url("amqp://orders:secret@localhost:5672/shop?heartbeat=10")?
///     .connection_name("orders")
///     .unconfirmed_max(1000);
/// # Ok::<(), tramline_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RabbitMqOptions {
    /// At least one.
    pub(crate) hosts: Vec<Host>,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) tls: Option<Tls>,
    pub(crate) heartbeat: Duration,
    pub(crate) connection_name: String,
    pub(crate) connect_limit: Duration,
    pub(crate) frame_bytes_max: Option<u32>,
    pub(crate) unconfirmed_max: u32,
    pub(crate) body_bytes_max: u64,
    pub(crate) hold_max: Duration,
    pub(crate) management: Option<String>,
}

/// One of the brokers that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name or an address, without the brackets that IPv6 has in a URL.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl RabbitMqOptions {
    /// The options that a URL says: `amqp://user:password@host:port/vhost?option=value`.
    ///
    /// Without a path, or with `/` alone, the vhost is `/`. User and password are `guest` if not said,
    /// the port is 5672, with `amqps:` 5671. The members of a cluster stand one after the other,
    /// `amqp://one,two:5673,three/vhost`: every attempt to connect tries them in a new random order
    /// until one answers.
    ///
    /// | option | meaning | if not said |
    /// | --- | --- | --- |
    /// | `heartbeat` | seconds between signs of life; a connection without any for twice as long is cut | 15 |
    /// | `connection_name` | what the broker's own pages call this process | the program's name |
    /// | `connect_limit` | seconds that one attempt to connect may take, at each host | 10 |
    /// | `ca` | PEM file: who may sign the broker's certificate, besides those the system trusts | only those |
    /// | `cert`, `key` | PEM files: the client's own certificate, and its key | none |
    /// | `frame_max` | the largest frame in bytes | what the broker asks for |
    /// | `unconfirmed_max` | how many messages may wait for the broker's confirm at once | 4096 |
    /// | `body_max` | the largest body in bytes: what the broker's `max_message_size` is | 16 MiB |
    /// | `hold_max` | seconds that a delivery may stay unsettled: less than the broker's `consumer_timeout` | 1500 |
    /// | `management` | URL of the management API, percent-encoded: where figures come from | none |
    ///
    /// # Errors
    /// [`tramline_core::ErrorKind::Misconfigured`] says what is wrong with the URL. Its password is
    /// not repeated.
    pub fn from_url(url: &str) -> Result<Self> {
        crate::url::parse(url)
    }

    /// What the broker's own pages call this process.
    #[must_use]
    pub fn connection_name(mut self, name: impl Into<String>) -> Self {
        self.connection_name = name.into();
        self
    }

    /// How many messages may wait for the broker's confirm at once, at least 1. Who sends more waits.
    #[must_use]
    pub fn unconfirmed_max(mut self, messages: u32) -> Self {
        self.unconfirmed_max = messages.max(1);
        self
    }

    /// The largest body, in bytes: what the broker's `max_message_size` is.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: u64) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// What such a broker can do for `queue`, as far as that is known before it is asked: the frame
    /// size that is agreed on bounds headers.
    pub fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        capabilities(queue, self, None)
    }

    /// Where the broker is, without user and password.
    pub(crate) fn address(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        format!("{} (vhost {:?})", self.url_of(&hosts.join(",")), self.vhost)
    }

    /// Where one of the hosts is.
    pub(crate) fn address_of(&self, host: &Host) -> String {
        format!("{} (vhost {:?})", self.url_of(&host.to_string()), self.vhost)
    }

    fn url_of(&self, hosts: &str) -> String {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{hosts}")
    }
}

/// As in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// Without the password.
impl fmt::Debug for RabbitMqOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqOptions")
            .field("address", &self.address())
            .field("user", &self.user)
            .field("connection_name", &self.connection_name)
            .finish_non_exhaustive()
    }
}
