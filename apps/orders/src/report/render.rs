//! The report as a table and as JSON.

use super::report::Report;
use crate::money::Money;
use indicatif::HumanCount;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// The report as it is written to a file.
#[derive(Serialize)]
struct Document<'a> {
    accepted: u64,
    charged: u64,
    revenue: Money,
    units: u64,
    emails: u64,
    analytics_revenue: Money,
    vip: u64,
    dead_lettered: u64,
    dead_letter_reasons: &'a BTreeMap<String, u64>,
    retried: u64,
    redelivered: u64,
    duplicates_suppressed: u64,
    kills: u64,
    broker_kills: u64,
    seconds: f64,
    orders_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    reconciled: bool,
}

impl Report {
    /// The report as JSON, for programs.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let found = &self.found;
        let mut json = serde_json::to_string_pretty(&Document {
            accepted: found.accepted,
            charged: found.charged,
            revenue: found.revenue,
            units: found.units,
            emails: found.emails,
            analytics_revenue: found.analytics_revenue,
            vip: found.vip,
            dead_lettered: found.dead_lettered,
            dead_letter_reasons: &self.reasons,
            retried: found.retried,
            redelivered: self.redelivered,
            duplicates_suppressed: self.duplicates_suppressed,
            kills: self.kills,
            broker_kills: self.broker_kills,
            seconds: rounded(self.seconds),
            orders_per_second: rounded(self.orders_per_second()),
            p50_ms: rounded(self.p50_ms),
            p99_ms: rounded(self.p99_ms),
            reconciled: self.is_reconciled(),
        })?;
        json.push('\n');
        Ok(json)
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// The report as a table, for people.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn Display| writeln!(f, "  {name:<22} {value:>14}");
        let found = &self.found;
        row("accepted", &HumanCount(found.accepted))?;
        row("charged", &HumanCount(found.charged))?;
        row("revenue", &found.revenue.to_string())?;
        row("units", &HumanCount(found.units))?;
        row("emails", &HumanCount(found.emails))?;
        row("analytics revenue", &found.analytics_revenue.to_string())?;
        row("vip", &HumanCount(found.vip))?;
        row("dead-lettered", &HumanCount(found.dead_lettered))?;
        for (reason, count) in &self.reasons {
            row(&format!("  {reason}"), &HumanCount(*count))?;
        }
        row("retried", &HumanCount(found.retried))?;
        row("redelivered", &HumanCount(self.redelivered))?;
        row("duplicates suppressed", &HumanCount(self.duplicates_suppressed))?;
        row("kills", &HumanCount(self.kills))?;
        if self.broker_kills > 0 {
            row("  the broker", &HumanCount(self.broker_kills))?;
        }
        row("seconds", &format_args!("{:.1}", self.seconds).to_string())?;
        row("orders per second", &HumanCount(self.orders_per_second() as u64))?;
        row("p50 ms", &format_args!("{:.1}", self.p50_ms).to_string())?;
        row("p99 ms", &format_args!("{:.1}", self.p99_ms).to_string())?;
        if self.is_reconciled() {
            return write!(f, "  reconciled to the cent");
        }
        write!(f, "  NOT RECONCILED")?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n    {difference}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figures;

    fn report() -> Report {
        Report {
            found: Figures {
                accepted: 69_659,
                revenue: Money::of_cents(250_031_563),
                ..Figures::default()
            },
            reasons: [("payment: permanent: nothing to charge".to_owned(), 80)].into(),
            redelivered: 1,
            duplicates_suppressed: 2,
            kills: 12,
            broker_kills: 2,
            seconds: 13.932_123,
            p50_ms: 1.0,
            p99_ms: 2.5,
            differences: Vec::new(),
        }
    }

    #[test]
    fn the_document_has_the_fields_that_programs_ask_for() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        assert_eq!(json["revenue"], "2500315.63");
        assert_eq!(json["dead_letter_reasons"]["payment: permanent: nothing to charge"], 80);
        assert_eq!((&json["seconds"], &json["reconciled"]), (&13.932.into(), &true.into()));
        assert_eq!(json.as_object().unwrap().len(), 19);
    }

    #[test]
    fn the_table_says_what_differs() {
        let table = report().to_string();
        assert!(table.contains("69,659") && table.ends_with("reconciled to the cent"), "{table}");
        let wrong = Report { differences: vec!["vip is 2, not 3".to_owned()], ..report() };
        let table = wrong.to_string();
        assert!(table.ends_with("NOT RECONCILED\n    vip is 2, not 3"), "{table}");
    }
}
