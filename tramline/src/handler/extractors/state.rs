//! What the application shares with its handlers.

use crate::Failure;
use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::Context;

/// A clone of the state of type `T` that was registered by `.state(…)`. The bus itself is there
/// as `State<Bus>`: what is published through it leaves at once.
#[derive(Clone, Copy, Debug)]
pub struct State<T>(pub T);

impl<T: Clone + Send + Sync + 'static> FromContext for State<T> {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        cx.state().map(Self).ok_or_else(|| {
            let name = std::any::type_name::<T>();
            Failure::permanent(format!("no state of type {name}: register it by `.state(…)`"))
        })
    }
    fn requires(requirements: &mut Requirements) {
        requirements.state::<T>();
    }
}
