//! What is made for one message and is gone after it.

use crate::Failure;
use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::Context;
use futures_util::future::BoxFuture;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value of type `T` that was made for this run of the handler by what was registered by
/// [`scoped`](crate::BusBuilder::scoped), such as a connection or a cache. It is dropped with the handler's
/// arguments: when the handler has ended, however it did. What cannot be made is a failure of the run.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tramline::{Failure, Message};
/// use tramline::{Endpoint, Scoped};
///
/// # #[derive(Serialize, Deserialize)] struct OrderPlaced { id: u64 }
/// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
/// struct Session { looked_up: Vec<u64> }
///
/// async fn look_up(order: OrderPlaced, mut session: Scoped<Session>) {
///     session.looked_up.push(order.id);
/// }
/// # #[cfg(feature = "memory")]
/// # async fn start() -> Result<(), tramline::core::BoxError> {
/// # use tramline::Bus;
/// let bus = Bus::connect("memory:").await?
///     .scoped(|| async { Ok::<_, Failure>(Session { looked_up: Vec::new() }) })
///     .endpoint(Endpoint::new("look-up").subscribe::<OrderPlaced>().handle(look_up))
///     .start().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scoped<T>(pub T);

/// Makes a `T` for each run.
pub(crate) struct Maker<T>(Arc<dyn Fn() -> BoxFuture<'static, Result<T, Failure>> + Send + Sync>);

impl<T: Send + 'static> Maker<T> {
    pub(crate) fn of<F, Made, E>(make: F) -> Self
    where
        F: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<Failure>,
    {
        Self(Arc::new(move || {
            let made = make();
            Box::pin(async move { made.await.map_err(Into::into) })
        }))
    }
}

impl<T: Send + 'static> FromContext for Scoped<T> {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        let Some(Maker(make)) = cx.state::<Maker<T>>() else {
            let name = std::any::type_name::<T>();
            let text = format!("nothing makes a {name}: register what does by `.scoped(…)`");
            return Err(Failure::permanent(text));
        };
        make().await.map(Self)
    }
    fn requires(requirements: &mut Requirements) {
        requirements.scope::<Maker<T>, T>();
    }
}

impl<T> Clone for Maker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Scoped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Scoped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for Maker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker")
    }
}
