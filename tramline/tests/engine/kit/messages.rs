//! Messages, and a log that handlers write what they saw to.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tramline::Message;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) n: u64,
    pub(crate) total: String,
}

impl Message for Order {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["total"];
}

impl Order {
    pub(crate) fn of(n: u64) -> Self {
        Self { n, total: format!("{n}.50") }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paid {
    pub(crate) n: u64,
}

impl Message for Paid {
    const NAME: &'static str = "orders.paid";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ping {
    pub(crate) n: u64,
}

impl Message for Ping {
    const NAME: &'static str = "ping";
}

/// `ping` in a newer layout, under the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Renamed {
    pub(crate) number: u64,
}

impl Message for Renamed {
    const NAME: &'static str = "ping";
    const VERSION: u32 = 2;
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
