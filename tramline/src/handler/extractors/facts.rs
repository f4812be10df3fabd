//! Facts about the message and its delivery.

use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::Context;
use crate::{Failure, MessageId};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;

/// Which run of this message it is: its recorded failures + 1. Deliveries that ended with their
/// process are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u32);

impl FromContext for Attempt {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(Self(cx.attempt()))
    }
    fn requires(requirements: &mut Requirements) {
        requirements.single_message("Attempt");
    }
}

/// Tells a handler that its work is in vain: its run has failed or is over its time limit, the
/// lease is lost, or the bus stops and its limit is over. The handler's future is dropped then as
/// well; this is for what it has spawned. One that is cancelled from outside
/// ([`Bus::cancel_running`](crate::Bus::cancel_running)) is told some time before it is dropped.
#[derive(Clone, Debug)]
pub struct Cancel(CancellationToken);

impl Cancel {
    pub(crate) fn of(token: CancellationToken) -> Self {
        Self(token)
    }

    /// Whether it is in vain already.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ends when it is in vain. Cancel-safe.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

impl FromContext for Cancel {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(Self::of(cx.cancel_token()))
    }
}

impl FromContext for MessageId {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(cx.message_id().clone())
    }
    fn requires(requirements: &mut Requirements) {
        requirements.single_message("MessageId");
    }
}

impl FromContext for Headers {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(cx.envelope().headers.clone())
    }
    fn requires(requirements: &mut Requirements) {
        requirements.single_message("Headers");
    }
}

/// The whole envelope.
impl FromContext for Arc<Envelope> {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(cx.envelope().clone())
    }
    fn requires(requirements: &mut Requirements) {
        requirements.single_message("Arc<Envelope>");
    }
}
