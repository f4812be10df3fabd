//! SQL conditions over headers and body fields.
//!
//! An expression becomes tokens ([`lexer`]), then a tree ([`parser`], [`ast`]), which is evaluated
//! for each message ([`eval`]) over [`value`]s and [`number`]s in three-valued logic ([`truth`]).
//! Only the fields that the expression names are taken out of a body ([`body`]).

mod ast;
mod body;
mod eval;
mod expression;
mod lexer;
mod like;
mod number;
mod parser;
#[cfg(test)]
mod tests;
mod truth;
mod value;

pub use expression::SqlExpression;
