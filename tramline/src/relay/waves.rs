//! Which claimed rows may be sent together: of each key only the first that is not confirmed.

use std::collections::HashSet;
use tramline_core::store::OutboxRow;

/// Splits `rows`, keeping their order, so that no wave has two rows of one key: the second is sent
/// only when the first is confirmed, whatever the transport does with a batch.
pub(crate) fn waves(rows: Vec<OutboxRow>) -> Vec<Vec<OutboxRow>> {
    let mut waves: Vec<(HashSet<String>, Vec<OutboxRow>)> = Vec::new();
    for row in rows {
        let key = row.outgoing.envelope.key.clone();
        let first_free = key.as_ref().map_or(0, |key| {
            let last = waves.iter().rposition(|(keys, _)| keys.contains(key));
            last.map_or(0, |last| last + 1)
        });
        if first_free == waves.len() {
            waves.push(Default::default());
        }
        let (keys, wave) = &mut waves[first_free];
        keys.extend(key);
        wave.push(row);
    }
    waves.into_iter().map(|(_, wave)| wave).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tramline_core::envelope::Envelope;
    use tramline_core::name::{QueueName, QueueRef};
    use tramline_core::store::OutboxToken;
    use tramline_core::transport::{Destination, Outgoing};

    fn row(row: i64, key: Option<&str>) -> OutboxRow {
        let key = key.map(str::to_owned);
        let to = Destination::Queue(QueueRef::Main(QueueName::new("q").unwrap()));
        let envelope = Arc::new(Envelope { key, ..Envelope::default() });
        let outgoing = Outgoing { to, envelope, due: None, copy: None };
        OutboxRow { token: OutboxToken { row, lease: 0 }, outgoing, attempts: 0 }
    }

    #[test]
    fn rows_of_one_key_go_one_after_the_other_and_the_rest_together() {
        let keys = [Some("a"), None, Some("b"), Some("a"), None, Some("a"), Some("b")];
        let rows = keys.iter().zip(1..).map(|(key, n)| row(n, *key)).collect();
        let waves: Vec<Vec<i64>> =
            waves(rows).iter().map(|wave| wave.iter().map(|row| row.token.row).collect()).collect();
        assert_eq!(waves, [vec![1, 2, 3, 5], vec![4, 7], vec![6]]);
    }
}
