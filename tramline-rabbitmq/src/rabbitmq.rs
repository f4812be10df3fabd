//! The transport.

use crate::declare::{Binding, Declared, Exchange};
use crate::link::{Link, Prepare, Session};
use crate::operate::Management;
use crate::options::RabbitMqOptions;
use crate::receive::{Asking, Leases};
use crate::send::Publisher;
use lapin::types::ShortString;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::name::QueueRef;

/// A broker. Clones share its two connections: one publishes, one consumes. A third is there while
/// what is declared is written down or asked for.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    pub(crate) shared: Arc<Shared>,
}

/// What every part of the driver works with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<RabbitMqOptions>,
    pub(crate) publishing: Link,
    pub(crate) consuming: Link,
    pub(crate) declared: Arc<Declared>,
    pub(crate) leases: Leases,
    pub(crate) trials: Asking,
    pub(crate) publisher: Publisher,
    pub(crate) management: Option<Management>,
}

impl Shared {
    /// What the broker calls `queue`.
    ///
    /// # Errors
    /// The name is longer than the protocol can say.
    pub(crate) fn name_of(&self, queue: &QueueRef) -> Result<ShortString> {
        self.declared.names.of(queue)
    }

    /// Declares what was declared before, for who meets a queue that is gone. `session` is one of
    /// the link that consumes.
    ///
    /// # Errors
    /// As for the first declaration.
    pub(crate) async fn declare_again(&self, session: &Session) -> Result<()> {
        self.declared.again(session).await
    }
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
        let management = Management::of(&options)?;
        let options = Arc::new(options);
        let declared = Arc::new(Declared::new(options.clone()));
        let nothing: Prepare = Arc::new(|_| Box::pin(async { Ok(()) }));
        let publishing = Link::open(options.clone(), "publish", nothing).await?;
        let consuming = Link::open(options.clone(), "consume", again(declared.clone())).await?;
        let (leases, trials) = (Leases::default(), Asking::default());
        let publisher = Publisher::new(&options);
        let shared = Shared {
            options,
            publishing,
            consuming,
            declared,
            leases,
            trials,
            publisher,
            management,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Adds an exchange to what [`declare`](tramline_core::transport::Transport::declare) makes sure of,
    /// and so the start of a bus, from then on and again after each reconnect.
    ///
    /// ```no_run
    /// # async fn joined() -> tramline_core::Result<()> {
    /// use tramline_rabbitmq::{Binding, Exchange, RabbitMq};
    ///
    /// let broker = RabbitMq::connect("amqp://localhost/shop").await?
    ///     .exchange(Exchange::existing("legacy.events"))
    ///     .exchange(Exchange::fanout("audit"))
    ///     .bind(Binding::exchange("audit").from("legacy.events").key("#"))
    ///     .bind(Binding::queue("billing").from("legacy.events").key("order.*"));
    /// # drop(broker); Ok(()) }
    /// ```
    #[must_use]
    pub fn exchange(self, exchange: Exchange) -> Self {
        self.shared.declared.add_exchange(exchange);
        self
    }

    /// Adds a binding to what is made sure of, like [`exchange`](Self::exchange). Nobody removes it by
    /// itself: a program that no longer asks for it leaves it as it is.
    #[must_use]
    pub fn bind(self, binding: Binding) -> Self {
        self.shared.declared.add_binding(binding);
        self
    }

    /// Cuts both connections off as if they had broken, for tests. They come back by themselves.
    #[doc(hidden)]
    pub async fn cut(&self) {
        futures_util::future::join(self.shared.publishing.cut(), self.shared.consuming.cut()).await;
    }

    /// Ends both connections, by `deadline` at the latest.
    pub(crate) async fn close_by(&self, deadline: Deadline) {
        tokio::select! {
            biased;
            () = self.shared.leases.tell_all() => {}
            () = SystemClock.sleep_until(deadline.0) => {}
        }
        let (publishing, consuming) = (&self.shared.publishing, &self.shared.consuming);
        futures_util::future::join(publishing.close(deadline), consuming.close(deadline)).await;
    }
}

/// What was declared is there before anybody gets the new connection.
fn again(declared: Arc<Declared>) -> Prepare {
    Arc::new(move |session| {
        let declared = declared.clone();
        Box::pin(async move { declared.again(&session).await })
    })
}
