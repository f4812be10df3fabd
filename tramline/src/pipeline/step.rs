//! Steps and layers: plain `async`, one struct and one impl each.

use super::Context;
use crate::{BoxFuture, Failure};
use std::sync::Arc;

/// How a handler ended.
pub type Outcome = Result<(), Failure>;

/// Something that a message goes through; the innermost is the handler.
pub trait Step: Send + Sync + 'static {
    /// Works on the message in `cx`. May be called again for the same message.
    fn run(&self, cx: &mut Context) -> impl Future<Output = Outcome> + Send;
}

/// Work around the rest of the pipeline.
///
/// ```
/// use tramline::pipeline::{Context, Layer, Outcome, Step};
///
/// struct Timed;
/// impl Layer for Timed {
///     async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
///         let began = std::time::Instant::now();
///         let outcome = next.run(cx).await;
///         eprintln!("{} took {:?}", cx.endpoint(), began.elapsed());
///         outcome
///     }
/// }
/// ```
pub trait Layer: Send + Sync + 'static {
    /// Calls `next`, once, more often, or not at all, and answers for it. Only what the last call
    /// has written and published counts, and nothing of it if that call failed.
    fn around<N: Step>(&self, cx: &mut Context, next: &N) -> impl Future<Output = Outcome> + Send;
}

/// A layer around a step: a step again, without a box.
#[derive(Debug)]
pub struct Stack<L, N> {
    layer: L,
    next: N,
}

impl<L: Layer, N: Step> Stack<L, N> {
    /// `layer` around `next`.
    pub fn new(layer: L, next: N) -> Self {
        Self { layer, next }
    }
}

impl<L: Layer, N: Step> Step for Stack<L, N> {
    fn run(&self, cx: &mut Context) -> impl Future<Output = Outcome> + Send {
        self.layer.around(cx, &self.next)
    }
}

/// A layer that may be absent.
impl<L: Layer> Layer for Option<L> {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        match self {
            Some(layer) => layer.around(cx, next).await,
            None => next.run(cx).await,
        }
    }
}

/// A step as an object.
pub trait DynStep: Send + Sync + 'static {
    /// [`Step::run`].
    fn run_dyn<'a>(&'a self, cx: &'a mut Context) -> BoxFuture<'a, Outcome>;
}

impl<S: Step> DynStep for S {
    fn run_dyn<'a>(&'a self, cx: &'a mut Context) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(cx))
    }
}

/// A shared step of whatever type: one box for each message that goes through.
pub type Pipeline = Arc<dyn DynStep>;

impl Step for Pipeline {
    async fn run(&self, cx: &mut Context) -> Outcome {
        (**self).run_dyn(cx).await
    }
}

/// A user's layer before the handlers that it goes around are known.
pub(crate) type BoxedLayer = Box<dyn FnOnce(Pipeline) -> Pipeline + Send>;
