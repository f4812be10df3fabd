//! What scenarios are written with.

pub(crate) mod consumer;
pub(crate) mod declared;
pub(crate) mod engine;
pub(crate) mod message;
pub(crate) mod operator;
pub(crate) mod run;
pub(crate) mod scene;
pub(crate) mod time;
pub(crate) mod topology;
