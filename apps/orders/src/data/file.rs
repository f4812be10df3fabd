//! Where orders come from: a file, or what ships with the program; compressed or not.

use super::csv;
use crate::order::Order;
use crate::trouble::Trouble;
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The CDNOW orders; see `data/README.md`.
const SHIPPED: &[u8] = include_bytes!("../../data/orders.csv.gz");
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// The first `limit` of the orders that ship with the program.
pub(crate) fn shipped(limit: usize) -> Result<Vec<Order>, Trouble> {
    read(SHIPPED, limit).map_err(|why| Trouble::broken(format!("the shipped orders:{why}")))
}

/// The first `limit` orders of the file at `path`, CSV or gzipped CSV.
pub(crate) fn read_file(path: &Path, limit: usize) -> Result<Vec<Order>, Trouble> {
    let name = path.display();
    let file = File::open(path).map_err(|error| {
        Trouble::permanent(format!("failed to open the orders in {name}: {error}"))
    })?;
    read(BufReader::new(file), limit).map_err(|why| Trouble::permanent(format!("{name}:{why}")))
}

fn read(mut bytes: impl BufRead, limit: usize) -> Result<Vec<Order>, String> {
    let start = bytes.fill_buf().map_err(|error| format!("1: {error}"))?;
    if start.starts_with(GZIP_MAGIC) {
        csv::read(BufReader::new(GzDecoder::new(bytes)), limit)
    } else {
        csv::read(bytes, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const TEXT: &str = "order_id,user_id,date,units,total\n7,2,1997-01-01,1,11.77\n";

    #[test]
    fn the_shipped_orders_are_all_there() {
        let orders = shipped(usize::MAX).unwrap();
        assert_eq!(orders.len(), 69_659);
        assert_eq!((orders[0].order_id, orders[69_658].order_id), (1, 69_659));
    }

    #[test]
    fn a_file_may_be_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, gzipped) = (folder.path().join("a.csv"), folder.path().join("b"));
        std::fs::write(&plain, TEXT).unwrap();
        let mut encoder = GzEncoder::new(File::create(&gzipped).unwrap(), Compression::fast());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        encoder.finish().unwrap();
        for path in [plain, gzipped] {
            assert_eq!(read_file(&path, usize::MAX).unwrap()[0].order_id, 7);
        }
    }

    #[test]
    fn what_cannot_be_read_is_permanent_trouble_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.csv");
        std::fs::write(&bad, TEXT.replace("11.77", "x")).unwrap();
        let torn = folder.path().join("torn.gz");
        std::fs::write(&torn, &SHIPPED[..20_000]).unwrap();
        let missing = folder.path().join("missing.csv");
        for (path, part) in
            [(bad, "bad.csv:2: `total`"), (torn, "torn.gz:"), (missing, "missing.csv")]
        {
            let trouble = read_file(&path, usize::MAX).unwrap_err();
            assert!(matches!(trouble, Trouble::Permanent(_)));
            assert!(trouble.to_string().contains(part), "{trouble}");
        }
    }
}
