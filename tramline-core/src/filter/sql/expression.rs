//! The SQL expression as a whole.

use super::ast::{Condition, Names};
use super::eval::Evaluation;
use super::parser;
use super::truth::Truth;
use crate::filter::{Facts, FilterError};

/// A SQL condition over the headers and the body fields of a message.
///
/// **Names.** A name means the header of that name, else the top-level field of a JSON body. Names
/// are case-sensitive; `"any name"` and `[any name]` are quoted. What is absent or JSON `null` is
/// NULL.
///
/// **Conditions.** `=` `<>` `!=` `<` `<=` `>` `>=`, `[NOT] IN (…)`, `[NOT] LIKE '…' [ESCAPE 'c']`
/// (`%` any text, `_` one character), `[NOT] BETWEEN … AND …`, `IS [NOT] NULL`, `EXISTS(name)`
/// (the same as `name IS NOT NULL`), a name that holds a boolean; `NOT`, `AND`, `OR`, parentheses.
///
/// **Values.** `'text'` (`''` is a quote in it), numbers such as `7`, `1.50` or `2e3`, `TRUE`,
/// `FALSE`, `NULL`, and `+ - * / %` on numbers. Keywords may have any case.
///
/// **Comparing.** Numbers are exact decimals; beyond 28 digits or so they are compared as floats.
/// Text is compared with text by code points, and with a number as a number if it is written like
/// one in JSON (`1200.50`, not `01234`); this is how promoted decimals travel. Booleans are only
/// equal or not. Whatever else is compared (other types, NULL, bytes, nested JSON, the result of a
/// division by zero or an overflow) gives *unknown*, which goes through AND, OR and NOT as in SQL
/// and does not match in the end. Nested JSON and bytes are not NULL, though.
///
/// **Bounds.** 4096 characters, 64 levels of nesting, 1000 values in an `IN`.
///
/// ```
/// use tramline_core::filter::{Facts, SqlExpression};
/// use tramline_core::headers::Headers;
///
/// let large = SqlExpression::parse("total * 1.19 > 1000 AND NOT country IN ('DE', 'AT')")?;
/// assert_eq!(large.names().collect::<Vec<_>>(), ["country", "total"]);
///
/// let headers = Headers::from_iter([("country", "FR")]);
/// assert!(large.matches(&Facts::new("orders.placed", &headers, br#"{"total": 900}"#)));
/// assert!(!large.matches(&Facts::new("orders.placed", &Headers::new(), br#"{"total": 900}"#)));
/// # Ok::<(), tramline_core::filter::FilterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqlExpression {
    text: String,
    condition: Condition,
    names: Names,
}

impl SqlExpression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is not in the language, and what exceeds its bounds, with the position of the fault.
    pub fn parse(expression: &str) -> Result<Self, FilterError> {
        let (condition, names) =
            parser::parse(expression).map_err(|fault| FilterError::in_sql(expression, fault))?;
        Ok(Self { text: expression.to_owned(), condition, names })
    }

    /// Whether the expression is true for a message: neither false nor unknown.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        Evaluation::new(&self.names, facts).condition(&self.condition) == Truth::True
    }

    /// The names that the expression looks up, sorted and each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.sorted()
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
