//! The language as its users meet it: through `SqlExpression`.

mod against_sqlite;
mod asking;
mod comparing;
mod faults;
mod logic;
mod names;
mod properties;
