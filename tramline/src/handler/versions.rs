//! Bodies of older versions, made into what a handler takes.

use crate::{Failure, Message};
use std::any::{Any, TypeId};
use std::sync::Arc;
use tramline_core::codec::Encoding;

type Body = Box<dyn Any + Send>;
type Decode = fn(&Encoding, &[u8]) -> Result<Body, Failure>;
type Convert = Arc<dyn Fn(Body) -> Result<Body, Failure> + Send + Sync>;

/// One step from a version of a message to a later one.
#[derive(Clone)]
struct Upcast {
    /// The names of both; they must be one.
    names: [&'static str; 2],
    versions: [u32; 2],
    types: [TypeId; 2],
    decode: Decode,
    convert: Convert,
}

/// The upcasts of one endpoint.
#[derive(Clone, Default)]
pub(crate) struct Versions(Vec<Upcast>);

/// What a handler takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) type_id: TypeId,
}

impl Target {
    pub(crate) fn of<M: Message>() -> Self {
        Self { name: M::NAME, version: M::VERSION, type_id: TypeId::of::<M>() }
    }
}

impl Versions {
    pub(crate) fn add<Old: Message, New: Message>(
        &mut self,
        upcast: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        self.0.push(Upcast {
            names: [Old::NAME, New::NAME],
            versions: [Old::VERSION, New::VERSION],
            types: [TypeId::of::<Old>(), TypeId::of::<New>()],
            decode: |encoding, body| Ok(Box::new(encoding.decode::<Old>(body)?)),
            convert: Arc::new(move |old| Ok(Box::new(upcast(*known::<Old>(old)?)))),
        });
    }

    /// The message in a body of `version`: upcast where there is a way, else read as it is.
    ///
    /// # Errors
    /// The body cannot be read as what its version promises.
    pub(crate) fn decode<M: Message>(
        &self,
        encoding: &Encoding,
        version: u32,
        body: &[u8],
    ) -> Result<M, Failure> {
        // Most endpoints have no upcasts, and most messages no older version.
        if version >= M::VERSION || self.0.is_empty() {
            return encoding.decode(body);
        }
        let Some(first) = self.from(M::NAME, version) else { return encoding.decode(body) };
        let mut message = (first.convert)((first.decode)(encoding, body)?)?;
        let mut reached = first.versions[1];
        while let Some(next) = self.from(M::NAME, reached) {
            message = (next.convert)(message)?;
            reached = next.versions[1];
        }
        known(message).map(|message| *message)
    }

    fn from(&self, name: &str, version: u32) -> Option<&Upcast> {
        self.0.iter().find(|upcast| upcast.names[0] == name && upcast.versions[0] == version)
    }

    /// Everything that is wrong, for handlers that take `targets`.
    pub(crate) fn problems(&self, targets: &[Target]) -> Vec<String> {
        let faults = self.0.iter().enumerate().filter_map(|(index, upcast)| {
            let ([name, new_name], [from, to]) = (upcast.names, upcast.versions);
            let fault = if name != new_name {
                format!("both must have one name, and the later one is called {new_name}")
            } else if from >= to {
                format!("it leads to version {to}, which is no later one")
            } else if self.0[..index]
                .iter()
                .any(|other| other.names[0] == name && other.versions[0] == from)
            {
                "there is another upcast from that version".to_owned()
            } else {
                self.dead_end(upcast, targets)?
            };
            Some(format!("upcast of message {name} from version {from}: {fault}"))
        });
        faults.collect()
    }

    /// Why the way that begins with `upcast` leads to no handler, if so.
    fn dead_end(&self, upcast: &Upcast, targets: &[Target]) -> Option<String> {
        let (name, [_, to], [_, made]) = (upcast.names[0], upcast.versions, upcast.types);
        if let Some(next) = self.from(name, to) {
            let fits = next.types[0] == made;
            return (!fits).then(|| format!("the upcast from version {to} takes another type"));
        }
        match targets.iter().find(|target| target.name == name) {
            None => Some("no handler takes such messages".to_owned()),
            Some(target) if target.version != to => {
                Some(format!("it ends at version {to}, and the handler takes {}", target.version))
            }
            Some(target) => (target.type_id != made)
                .then(|| format!("the handler takes another type of version {to}")),
        }
    }
}

/// `body` as the type that it has: `start()` has checked every way.
fn known<M: Message>(body: Body) -> Result<Box<M>, Failure> {
    body.downcast().map_err(|_| {
        Failure::permanent(format!("the upcasts of {} do not fit each other", M::NAME))
    })
}
