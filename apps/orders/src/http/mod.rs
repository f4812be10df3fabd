//! The HTTP API: `POST /orders`, `GET /orders/{id}`, and every refusal as a problem that says what
//! is wrong.

mod body;
mod in_flight;
mod place;
mod problem;
mod routes;
mod show;
mod written_order;

pub(crate) use routes::{Service, listen, serve};
