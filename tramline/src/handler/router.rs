//! Which handler a message goes to: by its name.

use crate::Failure;
use crate::handler::Target;
use crate::pipeline::{Context, Outcome, Pipeline, Step};
use std::collections::BTreeMap;
use tramline_core::envelope::Envelope;

/// A handler and what it knows.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) step: Pipeline,
    /// What it takes: bodies of a newer version it cannot read.
    pub(crate) takes: Target,
    /// Whether it answers: then whoever has asked is told if it fails for good.
    pub(crate) responds: bool,
}

/// The handlers of one endpoint, by message name. They are few, and a few names are compared faster
/// than one is hashed.
#[derive(Clone, Default)]
pub(crate) struct Router {
    routes: BTreeMap<&'static str, Route>,
    /// Takes whatever comes, of any name and version.
    all: Option<Route>,
}

/// Whether anybody here handles a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// Yes.
    To(&'static str),
    /// No, for this reason; a newer instance may.
    Unknown(String),
}

impl Router {
    /// Adds a handler; answers whether there was one for that message already.
    pub(crate) fn add(&mut self, name: &'static str, route: Route) -> bool {
        self.routes.insert(name, route).is_some()
    }

    /// A router of one handler, which takes whatever comes.
    pub(crate) fn of_all(route: Route) -> Self {
        Self { routes: BTreeMap::new(), all: Some(route) }
    }

    /// Whether its handler takes whatever comes.
    pub(crate) fn takes_all(&self) -> bool {
        self.all.is_some()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.routes.keys().copied()
    }

    /// What its handlers take.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.routes.values().map(|route| route.takes).collect()
    }

    /// Whether a message like this is answered.
    pub(crate) fn responds(&self, envelope: &Envelope) -> bool {
        match self.find(envelope) {
            Ok((_, route)) => route.responds,
            // It may be a newer version of one that is.
            Err(_) => self.routes.values().any(|route| route.responds),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.all.is_none()
    }

    /// Who handles a message like this: the handler of its name; without a name, that of the
    /// subject it came under, else the only one there is.
    pub(crate) fn route(&self, envelope: &Envelope) -> Routed {
        self.find(envelope).map_or_else(Routed::Unknown, |(name, _)| Routed::To(name))
    }

    /// The handler and the name that it handles, or why there is none.
    fn find(&self, envelope: &Envelope) -> Result<(&'static str, &Route), String> {
        let subject = || envelope.via.as_ref().map(|via| &*via.subject);
        if let Some(all) = &self.all {
            return Ok((all.takes.name, all));
        }
        let known = match envelope.name.as_deref() {
            Some(name) => self.routes.get_key_value(name),
            None => {
                let by_subject = subject().and_then(|subject| self.routes.get_key_value(subject));
                by_subject.or_else(|| {
                    if self.routes.len() == 1 { self.routes.iter().next() } else { None }
                })
            }
        };
        let Some((name, route)) = known else {
            let name = envelope.name.as_deref().or_else(subject).unwrap_or("without a name");
            return Err(format!("no handler for message {name}"));
        };
        if envelope.version > route.takes.version {
            let (version, newest) = (envelope.version, route.takes.version);
            return Err(format!(
                "message {name} is of version {version}, and this handler knows up to {newest}"
            ));
        }
        Ok((name, route))
    }
}

impl Step for Router {
    async fn run(&self, cx: &mut Context) -> Outcome {
        match self.find(cx.envelope()) {
            Ok((_, route)) => route.step.run(cx).await,
            Err(why) => Err(Failure::unhandled(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::any::TypeId;
    use std::sync::Arc;
    use tramline_core::envelope::Via;
    use tramline_core::name::TopicName;

    struct Nothing;
    impl Step for Nothing {
        async fn run(&self, _cx: &mut Context) -> Outcome {
            Ok(())
        }
    }

    fn router(names: &[&'static str]) -> Router {
        let mut router = Router::default();
        for name in names {
            let takes = Target { name, version: 2, type_id: TypeId::of::<()>() };
            router.add(name, Route { step: Arc::new(Nothing), takes, responds: false });
        }
        router
    }

    fn named(name: &'static str, version: u32) -> Envelope {
        Envelope { name: Some(name.into()), version, ..Envelope::default() }
    }

    #[test]
    fn a_message_goes_to_the_handler_of_its_name() {
        let router = router(&["a", "b"]);
        assert_eq!(router.route(&named("b", 1)), Routed::To("b"));
        assert!(matches!(router.route(&named("c", 1)), Routed::Unknown(_)));
    }

    #[test]
    fn a_newer_version_is_unknown_and_an_older_one_is_not() {
        let router = router(&["a"]);
        assert_eq!(router.route(&named("a", 2)), Routed::To("a"));
        assert!(matches!(router.route(&named("a", 3)), Routed::Unknown(_)));
    }

    #[test]
    fn a_message_without_a_name_goes_by_subject_else_to_the_only_handler() {
        let nameless = Envelope::default();
        assert_eq!(router(&["a"]).route(&nameless), Routed::To("a"));
        assert!(matches!(router(&["a", "b"]).route(&nameless), Routed::Unknown(_)));
        let via = Via { topic: TopicName::new("t").unwrap(), subject: "b".into() };
        let subjected = Envelope { via: Some(via), ..Envelope::default() };
        assert_eq!(router(&["a", "b"]).route(&subjected), Routed::To("b"));
    }
}
