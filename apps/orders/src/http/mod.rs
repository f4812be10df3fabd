//! The HTTP API: `POST /orders`, `GET /orders/{id}`, and every refusal as a problem that says what
//! is wrong.

mod body;
mod in_flight;
mod place;
mod problem;
mod routes;
mod service;
mod show;
mod written_order;

pub(crate) use routes::{listen, serve};
pub(crate) use service::Service;
