//! Orders as lines of text.

use crate::order::{Order, Written};
use std::collections::HashMap;
use std::io::BufRead;

const HEADER: &str = "order_id,user_id,date,units,total";
/// No line of sense is longer; a file of another kind is not read into memory.
const LINE_BYTES_MAX: u64 = 4096;

/// The first `limit` orders of `text`. An error names the line.
pub(super) fn read(text: impl BufRead, limit: usize) -> Result<Vec<Order>, String> {
    let mut lines = Lines { text, number: 0 };
    match lines.next()? {
        Some(header) if header == HEADER => {}
        Some(other) => return Err(format!("1: the first line must be {HEADER}, not {other:?}")),
        None => return Err(format!("1: it is empty; the first line must be {HEADER}")),
    }
    let mut orders = Vec::new();
    let mut seen: HashMap<i64, usize> = HashMap::new();
    while orders.len() < limit {
        let Some(line) = lines.next()? else { break };
        let number = lines.number;
        let order = order(&line).map_err(|why| format!("{number}: {why}"))?;
        if let Some(first) = seen.insert(order.order_id, number) {
            return Err(format!("{number}: order {} stands in line {first}", order.order_id));
        }
        orders.push(order);
    }
    Ok(orders)
}

fn order(line: &str) -> Result<Order, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let fields: [&str; 5] = fields
        .try_into()
        .map_err(|fields: Vec<_>| format!("{} fields instead of 5", fields.len()))?;
    Order::read(&Written::bare(fields)).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        faults.join("; ")
    })
}

/// Lines with their numbers; the last one that was read is `number`.
struct Lines<R> {
    text: R,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<String>, String> {
        self.number += 1;
        let mut line = Vec::new();
        let mut bounded = std::io::Read::take(&mut self.text, LINE_BYTES_MAX);
        let failed = |why: String| format!("{}: {why}", self.number);
        let bytes = bounded.read_until(b'\n', &mut line).map_err(|e| failed(e.to_string()))?;
        if bytes == 0 {
            return Ok(None);
        }
        if bytes as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            return Err(failed(format!("the line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let line = String::from_utf8(line).map_err(|_| failed("it is not UTF-8".to_owned()))?;
        Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &str) -> Result<Vec<Order>, String> {
        read(format!("{HEADER}\n{lines}").as_bytes(), usize::MAX)
    }

    #[test]
    fn orders_are_read_up_to_the_limit() {
        let text = format!("{HEADER}\r\n1,2,1997-01-01,1,11.77\r\n2,2,1997-01-02,5,89.00");
        let orders = read(text.as_bytes(), usize::MAX).unwrap();
        assert_eq!(orders.iter().map(|order| order.order_id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(read(text.as_bytes(), 1).unwrap().len(), 1);
    }

    #[test]
    fn a_bad_line_is_refused_with_its_number_and_all_its_faults() {
        let good = "1,2,1997-01-01,1,11.77";
        for (bad, expected) in [
            ("2,2,1997-01-01,1", "3: 4 fields instead of 5"),
            ("", "3: 1 fields instead of 5"),
            ("2,x,1997-02-30,1,1.00", "`user_id` must be"),
            ("2,x,1997-02-30,1,1.00", "; `date` must be"),
            ("1,2,1997-01-01,1,1.00", "3: order 1 stands in line 2"),
        ] {
            let error = lines(&format!("{good}\n{bad}\n{good}")).unwrap_err();
            assert!(error.starts_with("3: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_of_orders_is_refused() {
        assert!(read("".as_bytes(), 1).unwrap_err().contains("it is empty"));
        assert!(read("id,total\n".as_bytes(), 1).unwrap_err().contains("not \"id,total\""));
        assert!(read(&b"\xff\xfe\n"[..], 1).unwrap_err().contains("not UTF-8"));
        assert!(read(&[b'x'; 9999][..], 1).unwrap_err().contains("longer than 4096"));
    }
}
