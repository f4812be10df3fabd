//! What the application shares with its handlers.

use crate::Failure;
use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::Context;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

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

/// States by type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl States {
    /// Keeps `state`; answers whether there was one of its type already.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, state: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Box::new(state)).is_some()
    }

    pub(crate) fn get<T: Clone + 'static>(&self) -> Option<T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref::<T>().cloned()
    }

    pub(crate) fn has(&self, state: TypeId) -> bool {
        self.0.contains_key(&state)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.0.len())
    }
}
