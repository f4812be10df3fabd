//! What schedules need before a bus starts.

use super::BusBuilder;
use crate::endpoint::Endpoint;
use std::collections::HashSet;
use std::sync::Arc;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::erased::DynStore;
use tramline_core::transport::Transport;

/// What recurs, and where it is kept.
pub(super) fn check_schedules<T: Transport>(bus: &BusBuilder<T>, problems: &mut Vec<String>) {
    match &bus.schedules {
        Some(store) if store.schedules_dyn().is_none() => {
            let database = store.database_dyn();
            problems.push(format!(
                "{database} keeps no schedules: give another store to `.schedules(…)`"
            ));
        }
        None if !bus.recurring.is_empty() => problems.push(
            "it has what recurs, and no store keeps schedules: add `.schedules(&store)`".to_owned(),
        ),
        _ => {}
    }
    let composer = Composer {
        encoding: bus.encoding.clone(),
        clock: bus.clock.clone(),
        entropy: bus.entropy.clone(),
    };
    let scope = Scope::outside(Arc::new(composer), Publishing::Outbox);
    let mut names = HashSet::new();
    for declared in &bus.recurring {
        let name = &declared.name;
        let said =
            declared.problems(&scope).into_iter().map(|what| format!("recurring {name}: {what}"));
        problems.extend(said);
        if !names.insert(name) {
            problems.push(format!("recurring {name}: there is another one of this name"));
        }
    }
}

/// Whether the transactions of `endpoint` can change schedules, if its handlers want to.
pub(super) fn check_planners<T>(
    bus: &BusBuilder<T>,
    endpoint: &Endpoint,
    store: Option<&Arc<dyn DynStore>>,
    problems: &mut Vec<String>,
) {
    let planner = endpoint.requirements.iter().find(|(_, requirements)| requirements.plans);
    let Some((message, _)) = planner else { return };
    let Some(schedules) = &bus.schedules else {
        problems.push(format!(
            "the handler for {message} asks for Planner, and no store keeps schedules: add \
             `.schedules(&store)` to the bus"
        ));
        return;
    };
    if !endpoint.behaviour.transactional {
        problems.push(format!(
            "the handler for {message} asks for Planner, and the endpoint is not `.transactional()`"
        ));
    } else if let Some(store) = store
        && store.database_dyn() != schedules.database_dyn()
    {
        let (ours, theirs) = (store.database_dyn(), schedules.database_dyn());
        problems.push(format!(
            "the handler for {message} asks for Planner in a transaction of {ours}, and the schedules are in {theirs}"
        ));
    }
}
