//! Typed tables, and changes to them that are not applied yet.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};

/// Values are boxed one by one, so that a change can replace one without knowing its type.
type Value = Box<dyn Any + Send + Sync>;

/// What is stored: for each type a table by key.
#[derive(Debug, Default)]
pub(crate) struct Tables(HashMap<TypeId, BTreeMap<String, Value>>);

/// What a transaction would change; `None` removes. Dropped, it leaves nothing behind.
#[derive(Debug, Default)]
pub(crate) struct Changes(HashMap<TypeId, BTreeMap<String, Option<Value>>>);

impl Tables {
    pub(crate) fn apply(&mut self, changes: Changes) {
        for (table, changes) in changes.0 {
            let table = self.0.entry(table).or_default();
            for (key, change) in changes {
                match change {
                    Some(value) => table.insert(key, value),
                    None => table.remove(&key),
                };
            }
        }
    }

    fn get<T: 'static>(&self, key: &str) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.get(key)?.downcast_ref()
    }
}

impl Changes {
    pub(crate) fn set<T: Send + Sync + 'static>(&mut self, key: String, value: Option<T>) {
        let value = value.map(|value| Box::new(value) as Value);
        self.0.entry(TypeId::of::<T>()).or_default().insert(key, value);
    }

    /// The value as it would be after these changes to `tables`.
    pub(crate) fn get<'a, T: 'static>(&'a self, tables: &'a Tables, key: &str) -> Option<&'a T> {
        match self.0.get(&TypeId::of::<T>()).and_then(|changes| changes.get(key)) {
            Some(change) => change.as_ref()?.downcast_ref(),
            None => tables.get(key),
        }
    }

    /// The table as it would be after these changes to `tables`.
    pub(crate) fn table<'a, T: 'static>(&'a self, tables: &'a Tables) -> BTreeMap<&'a str, &'a T> {
        let id = TypeId::of::<T>();
        let stored = tables.0.get(&id).into_iter().flatten();
        let stored = stored.map(|(key, value)| (key, Some(value)));
        let changed = self.0.get(&id).into_iter().flatten();
        let changed = changed.map(|(key, value)| (key, value.as_ref()));
        // A later entry replaces an earlier one: changes cover what is stored.
        let merged: BTreeMap<_, _> = stored.chain(changed).collect();
        let values = merged.into_iter();
        values.filter_map(|(key, value)| Some((key.as_str(), value?.downcast_ref()?))).collect()
    }
}
