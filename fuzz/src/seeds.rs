//! The seeds of each target show nothing, and so what they once showed stays mended.

use crate::{envelope, filters, names, rabbitmq_urls, urls, wire};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn no_seed_of_envelope_shows_anything() {
    none_shows_anything("envelope", envelope::check);
}

#[test]
fn no_seed_of_filters_shows_anything() {
    none_shows_anything("filters", filters::check);
}

#[test]
fn no_seed_of_names_shows_anything() {
    none_shows_anything("names", names::check);
}

#[test]
fn no_seed_of_rabbitmq_urls_shows_anything() {
    none_shows_anything("rabbitmq-urls", rabbitmq_urls::check);
}

#[test]
fn no_seed_of_urls_shows_anything() {
    none_shows_anything("urls", urls::check);
}

#[test]
fn no_seed_of_wire_shows_anything() {
    none_shows_anything("wire", wire::check);
}

fn none_shows_anything(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    let shows = |seed: &&Path| {
        let data = fs::read(seed).unwrap();
        catch_unwind(|| check(&data)).is_err()
    };
    let telling: Vec<&Path> = seeds.iter().map(AsRef::as_ref).filter(shows).collect();
    assert!(telling.is_empty(), "what they show is above: {telling:?}");
}
