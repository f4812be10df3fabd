//! Which statements may be queued: those that leave the transaction, and the session, to the others that
//! share it.

/// What a statement may begin with.
const PERMITTED: [&str; 11] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "CALL", "DO",
    "NOTIFY",
];

/// Why a statement may not be queued, if it may not. A statement that is sent with parameters is one
/// statement, so its first word tells.
pub(super) fn refusal(sql: &str) -> Option<String> {
    let word = first_word(sql);
    if !PERMITTED.iter().any(|permitted| permitted.eq_ignore_ascii_case(word)) {
        return Some(format!(
            "a queued statement begins with one of {}; others may share its transaction, so what else \
             there is needs `tx.connection()`",
            PERMITTED.join(", ")
        ));
    }
    // It would hold for the statements of other handlers, too.
    let sets = sql.as_bytes().windows(SETS.len()).any(|window| window.eq_ignore_ascii_case(SETS));
    sets.then(|| {
        "others may share its transaction: `set_config` needs `tx.connection()`".to_owned()
    })
}

const SETS: &[u8] = b"set_config";

/// Behind white space, comments and what else may stand in front of a statement.
pub(super) fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_ascii_whitespace() || "\u{b};(".contains(c));
        if let Some(rest) = sql.strip_prefix("--") {
            sql = rest.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
        } else if let Some(rest) = sql.strip_prefix("/*") {
            sql = behind_comment(rest);
        } else {
            break;
        }
    }
    let end = sql.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(sql.len());
    &sql[..end]
}

/// Comments may stand in comments.
fn behind_comment(mut sql: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = sql.find(['/', '*']) else { return "" };
        let (step, by) = match sql.as_bytes().get(at..at + 2) {
            Some(b"/*") => (2, 1),
            Some(b"*/") => (2, -1),
            _ => (1, 0),
        };
        depth += by;
        sql = &sql[at + step..];
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_read_or_write_rows_may_be_queued() {
        for sql in [
            "insert into numbers values ($1)",
            "  /* why /* and how */ */ -- it is so\n UPDATE numbers SET n = 1",
            "(SELECT 1) UNION (SELECT 2)",
            "WITH gone AS (DELETE FROM numbers RETURNING n) SELECT 1",
            "CALL settle($1)",
        ] {
            assert_eq!(refusal(sql), None, "{sql}");
        }
    }

    #[test]
    fn what_ends_the_transaction_or_outlives_the_statement_is_refused() {
        for sql in [
            "COMMIT",
            "; rollback",
            "/**/ End",
            "/* /* */ SELECT 1 */ COMMIT",
            "-- SELECT\rABORT",
            "SAVEPOINT a",
            "ROLLBACK TO a",
            "RELEASE a",
            "BEGIN",
            "START TRANSACTION",
            "PREPARE TRANSACTION 'a'",
            "SET search_path = elsewhere",
            "COPY numbers FROM STDIN",
            "EXECUTE a",
            "SELECTION",
            "/* SELECT",
            "",
            "SELECT Set_Config('search_path', 'elsewhere', true)",
        ] {
            assert!(refusal(sql).is_some(), "{sql}");
        }
    }
}
