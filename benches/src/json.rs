//! The figures for other programs.

use crate::Result;
use crate::round::{Case, Measured};
use serde::Serialize;
use std::path::Path;

/// One figure. `twin` and `ratio` are null where there is no twin.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    bench: &'static str,
    case: String,
    value: f64,
    unit: &'static str,
    twin: Option<f64>,
    ratio: Option<f64>,
}

/// A row for each figure of a case, and one for its CPU.
pub(crate) fn rows(bench: &'static str, case: &Case, measured: &Measured) -> Vec<Row> {
    let row = |case: String, unit, value: f64, twin: Option<f64>| {
        let ratio = twin.map(|twin| value / twin);
        Row { bench, case, value, unit, twin, ratio }
    };
    let figures = case.figures.iter().enumerate().map(|(index, figure)| {
        let twin = measured.twin.as_ref().map(|twin| twin.spread(index).median);
        row(case.figure(figure), figure.unit, measured.ours.spread(index).median, twin)
    });
    let mut rows: Vec<Row> = figures.collect();
    let twin_cpu = measured.twin.as_ref().map(|twin| twin.cpu_micros());
    let cpu = format!("{}: CPU", case.name);
    rows.push(row(cpu, "µs/msg", measured.ours.cpu_micros(), twin_cpu));
    rows
}

/// Writes the rows, if a file is asked for.
pub(crate) fn write(file: Option<&Path>, rows: &[Row]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut json = serde_json::to_vec_pretty(rows)?;
    json.push(b'\n');
    std::fs::write(file, json)
        .map_err(|error| format!("failed to write {}: {error}", file.display()).into())
}
