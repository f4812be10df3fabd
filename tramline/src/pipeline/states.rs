//! What the application shares with its handlers, by type.

use crate::handler::Maker;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

/// States by type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl States {
    /// Keeps `state`; answers whether there was one of its type already.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, state: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Box::new(state)).is_some()
    }

    /// Keeps what an application shares; a second one of its type is a problem.
    pub(crate) fn share<T: Clone + Send + Sync + 'static>(
        &mut self,
        state: T,
        problems: &mut Vec<String>,
    ) {
        if self.insert(state) {
            let name = std::any::type_name::<T>();
            problems.push(format!("there are two states of type {name}: wrap one"));
        }
    }

    /// Keeps what makes a `V` for each run; a second one is a problem.
    pub(crate) fn make<V: Send + 'static>(&mut self, maker: Maker<V>, problems: &mut Vec<String>) {
        if self.insert(maker) {
            let name = std::any::type_name::<V>();
            problems.push(format!("there are two that make a {name}: wrap one"));
        }
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
