//! What an endpoint asks of its queue, wish by wish.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::topology::QueueSpec;

/// What was asked for; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueWishes {
    pub(crate) ordering: Option<Ordering>,
    pub(crate) priority_max: Option<u8>,
    pub(crate) length_max: Option<u64>,
    pub(crate) dedup_window: Option<Duration>,
    pub(crate) keep_completed: Option<Duration>,
    pub(crate) keep_dead: Option<Duration>,
    pub(crate) temporary: bool,
    pub(crate) unique: bool,
    pub(crate) arguments: BTreeMap<String, String>,
}

impl QueueWishes {
    /// Writes every wish into `spec`. What `spec` says otherwise already is a problem, in words.
    pub(crate) fn add_to(&self, spec: &mut QueueSpec, problems: &mut Vec<String>) {
        let said = (spec.ordering != Ordering::None).then_some(spec.ordering);
        if let Some(ordering) = merged("ordering", said, self.ordering, problems) {
            spec.ordering = ordering;
        }
        spec.priority_max = merged("priorities", spec.priority_max, self.priority_max, problems);
        spec.length_max = merged("length_max", spec.length_max, self.length_max, problems);
        spec.dedup_window = merged("dedup_window", spec.dedup_window, self.dedup_window, problems);
        let (completed, dead) = (spec.keep_completed, spec.keep_dead);
        spec.keep_completed = merged("keep_completed", completed, self.keep_completed, problems);
        spec.keep_dead = merged("keep_dead", dead, self.keep_dead, problems);
        spec.temporary |= self.temporary;
        spec.unique |= self.unique;
        for (name, value) in &self.arguments {
            let said = spec.arguments.get(name).cloned();
            let what = format!("argument {name}");
            if let Some(value) = merged(&what, said, Some(value.clone()), problems) {
                spec.arguments.insert(name.clone(), value);
            }
        }
    }
}

fn merged<T: PartialEq + fmt::Debug>(
    what: &str,
    said: Option<T>,
    wish: Option<T>,
    problems: &mut Vec<String>,
) -> Option<T> {
    if let (Some(said), Some(wish)) = (&said, &wish)
        && said != wish
    {
        problems.push(format!("`.{what}(…)` says {wish:?}, and its `.queue_spec(…)` {said:?}"));
    }
    wish.or(said)
}
