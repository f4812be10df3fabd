//! A statement that waits for the end of its unit of work.

use super::parameter::Parameter;
use super::parameters::Parameters;
use super::permitted::refusal;
use std::borrow::Cow;
use tramline_core::Failure;

/// A statement with its values: the same bytes, however often it is run.
pub(in crate::store) struct Statement {
    pub(in crate::store) shape: Shape,
    pub(in crate::store) parameters: Vec<Parameter>,
}

/// What a statement is prepared by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Shape {
    pub(in crate::store) sql: Cow<'static, str>,
    /// The types of its parameters.
    pub(super) oids: Vec<u32>,
}

impl Shape {
    /// The text, different for different types: `sqlx` remembers what it has prepared by the text alone, and
    /// would send one type's bytes as another's.
    pub(super) fn sql_by_types(&self) -> String {
        let oids: Vec<String> = self.oids.iter().map(u32::to_string).collect();
        format!("/* {} */ {}", oids.join(" "), self.sql)
    }
}

impl Statement {
    /// # Errors
    /// A permanent failure: it may not be queued, or a value cannot be encoded.
    pub(in crate::store) fn new(
        sql: Cow<'static, str>,
        parameters: impl Parameters,
    ) -> Result<Self, Failure> {
        if let Some(why) = refusal(&sql) {
            let sql = shown(&sql);
            return Err(Failure::permanent(format!("failed to queue {sql}: {why}")));
        }
        let parameters = parameters.encoded()?;
        if parameters.len() > PARAMETERS_MAX {
            return Err(Failure::permanent(format!(
                "failed to queue {}: {} parameters are more than {PARAMETERS_MAX}",
                shown(&sql),
                parameters.len()
            )));
        }
        let oids = parameters.iter().map(Parameter::oid).collect();
        Ok(Self { shape: Shape { sql, oids }, parameters })
    }

    /// Its beginning, for people.
    pub(in crate::store) fn shown(&self) -> String {
        shown(&self.shape.sql)
    }

    pub(in crate::store) fn bytes(&self) -> usize {
        self.shape.sql.len() + self.parameters.iter().map(Parameter::len).sum::<usize>()
    }
}

/// What the protocol can count.
const PARAMETERS_MAX: usize = 65_535;

/// The beginning of a statement, on one line, for people.
pub(super) fn shown(sql: &str) -> String {
    const SHOWN_MAX: usize = 120;
    let words: Vec<&str> = sql.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}
