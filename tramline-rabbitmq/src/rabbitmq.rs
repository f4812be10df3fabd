//! The transport.

use crate::link::{Link, Prepare};
use crate::options::RabbitMqOptions;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::Deadline;

/// A broker. Clones share its two connections: one publishes, one consumes.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    shared: Arc<Shared>,
}

/// What every part of the driver works with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<RabbitMqOptions>,
    pub(crate) publishing: Link,
    pub(crate) consuming: Link,
}

impl RabbitMq {
    /// Connects to the broker that `url` names; [`RabbitMqOptions::from_url`] says what it may say.
    ///
    /// # Errors
    /// [`tramline_core::ErrorKind::Misconfigured`] for a wrong URL, password, vhost or certificate;
    /// [`tramline_core::ErrorKind::Unavailable`] if nobody answers. A connection that breaks later
    /// comes back by itself.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::open(RabbitMqOptions::from_url(url)?).await
    }

    /// Connects as `options` say.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn open(options: RabbitMqOptions) -> Result<Self> {
        let options = Arc::new(options);
        let prepare: Prepare = Arc::new(|_| Box::pin(async { Ok(()) }));
        let publishing = Link::open(options.clone(), "publish", prepare.clone()).await?;
        let consuming = Link::open(options.clone(), "consume", prepare).await?;
        Ok(Self { shared: Arc::new(Shared { options, publishing, consuming }) })
    }

    /// Ends both connections, by `deadline` at the latest.
    pub(crate) async fn close_by(&self, deadline: Deadline) {
        let (publishing, consuming) = (&self.shared.publishing, &self.shared.consuming);
        futures_util::future::join(publishing.close(deadline), consuming.close(deadline)).await;
    }
}
