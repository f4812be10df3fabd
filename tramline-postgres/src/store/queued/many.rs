//! The statements of many units that say the same, in one request.
//!
//! A request for each of them would cost the server and us several times what the statements themselves cost.
//! So each statement becomes a function of the session, with its text as it is, and the request calls
//! these functions for each row of its parameters: unit after unit, and of a unit each statement in turn.

use super::parameter::Parameter;
use super::permitted::first_word;
use super::prepared::BEGIN;
use super::statement::Statement;
use crate::link::Connected;
use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

/// What statements begin with that say the same in a function.
const WRITES: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "MERGE"];
/// What text is quoted with in a function.
const QUOTE: &str = "$tramline$";

/// What runs a list of statements many times, if they can be run so. Their functions have `nonce` in their names,
/// drawn at random: in a session that is not theirs there must be none of the name.
pub(super) async fn prepare(
    connected: &Connected,
    statements: &[(&Statement, &tokio_postgres::Statement)],
    nonce: u64,
) -> Option<tokio_postgres::Statement> {
    let types = types(statements)?;
    let (functions, call) = (functions(statements, &types, nonce), call(&types, nonce));
    let client = connected.client();
    let prepared = async {
        client.batch_execute(BEGIN).await?;
        client.batch_execute(&functions).await?;
        let prepared = client.prepare(&call).await?;
        client.batch_execute("COMMIT").await?;
        Ok::<_, tokio_postgres::Error>(prepared)
    };
    match prepared.await {
        Ok(prepared) => Some(prepared),
        Err(error) => {
            tracing::debug!(%error, "statements are run one by one");
            // If this fails too, the connection has ended, and so has the transaction.
            let _ = client.batch_execute("ROLLBACK").await;
            None
        }
    }
}

/// The types of each one's parameters, if each of them can be a function, and there is any parameter.
fn types(statements: &[(&Statement, &tokio_postgres::Statement)]) -> Option<Vec<Vec<String>>> {
    let each = statements.iter().map(|(statement, prepared)| {
        let sql = &statement.shape.sql;
        // Other kinds mean something else inside of a function, as a row for nobody does.
        let is_plain = WRITES.iter().any(|kind| kind.eq_ignore_ascii_case(first_word(sql)))
            && prepared.columns().is_empty()
            && !sql.contains(QUOTE);
        let types: Option<Vec<String>> = prepared.params().iter().map(name_of).collect();
        types.filter(|_| is_plain)
    });
    let types: Vec<Vec<String>> = each.collect::<Option<_>>()?;
    types.iter().any(|types| !types.is_empty()).then_some(types)
}

/// A function for each.
fn functions(
    statements: &[(&Statement, &tokio_postgres::Statement)],
    types: &[Vec<String>],
    nonce: u64,
) -> String {
    let each = statements.iter().zip(types).enumerate().map(|(nth, ((statement, _), types))| {
        let sql = statement.shape.sql.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
        let types = types.join(", ");
        // Whatever stands at its end, a comment is over on the next line.
        format!(
            "CREATE FUNCTION pg_temp.tramline_{nonce:x}_{nth}({types}) RETURNS int LANGUAGE plpgsql AS {QUOTE}
             #variable_conflict use_column
             BEGIN {sql}\n; RETURN NULL; END {QUOTE};"
        )
    });
    each.collect()
}

/// Calls the functions for each row of the parameters.
fn call(types: &[Vec<String>], nonce: u64) -> String {
    let (mut calls, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, types) in types.iter().enumerate() {
        let first = names.len();
        for kind in types {
            names.push(format!("p{}", names.len() + 1));
            arrays.push(format!("${}::{kind}[]", names.len()));
        }
        let arguments = names[first..].join(", ");
        calls.push(format!("pg_temp.tramline_{nonce:x}_{nth}({arguments})"));
    }
    // What may have effects is run, although nobody reads it.
    format!(
        "SELECT count(*) FROM (SELECT {} FROM unnest({}) AS unit({}) OFFSET 0) AS ran",
        calls.join(", "),
        arrays.join(", "),
        names.join(", ")
    )
}

/// A type as SQL names it, if there are arrays of it: of arrays there are none.
fn name_of(kind: &Type) -> Option<String> {
    if matches!(kind.kind(), Kind::Array(_) | Kind::Pseudo) {
        return None;
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    Some(format!("{}.{}", quoted(kind.schema()), quoted(kind.name())))
}

/// One parameter of many units, as an array.
#[derive(Debug)]
pub(in crate::store) struct Column<'c> {
    element: u32,
    values: Vec<&'c Parameter>,
}

/// The parameters of many lists of statements, which `prepared` are those of the first.
pub(in crate::store) fn columns<'c>(
    units: impl Iterator<Item = &'c [Statement]> + Clone,
    prepared: &[tokio_postgres::Statement],
) -> Vec<Column<'c>> {
    let mut columns = Vec::new();
    for (nth, prepared) in prepared.iter().enumerate() {
        for (parameter, kind) in prepared.params().iter().enumerate() {
            let values = units.clone().map(|unit| &unit[nth].parameters[parameter]).collect();
            columns.push(Column { element: kind.oid(), values });
        }
    }
    columns
}

impl ToSql for Column<'_> {
    /// As the documentation of the server's `array_recv` has it: dimensions, whether there are NULLs, the
    /// type, the length and the first index; then each element behind its length.
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i32(1);
        out.put_i32(i32::from(self.values.iter().any(|value| value.bytes().is_none())));
        out.put_u32(self.element);
        out.put_i32(self.values.len().try_into()?);
        out.put_i32(1);
        for value in &self.values {
            match value.bytes() {
                Some(bytes) => {
                    out.put_i32(bytes.len().try_into()?);
                    out.put_slice(bytes);
                }
                None => out.put_i32(-1),
            }
        }
        Ok(IsNull::No)
    }

    /// The server judges.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}
