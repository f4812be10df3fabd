//! What the report of an order run must say.

use serde_json::Value;

/// How the run was disturbed, as far as the report must show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disturbance {
    None,
    /// So much was killed, at least this often in all, and the broker among it.
    Kills {
        all: u64,
        brokers: u64,
    },
}

/// A figure that is known beforehand: the orders are the same in every run.
enum Figure {
    Count(u64),
    Amount(&'static str),
}

const KNOWN: &[(&str, Figure)] = &[
    ("accepted", Figure::Count(69_659)),
    ("charged", Figure::Count(69_579)),
    ("revenue", Figure::Amount("2500315.63")),
    ("units", Figure::Count(167_881)),
    ("emails", Figure::Count(69_579)),
    ("analytics_revenue", Figure::Amount("2500315.63")),
    ("vip", Figure::Count(3)),
    ("dead_lettered", Figure::Count(80)),
    ("retried", Figure::Count(1_436)),
];

/// Checks every figure of a report; an error lists all that are wrong.
pub(crate) fn check(report: &str, disturbance: Disturbance) -> Result<String, String> {
    let report: Value = serde_json::from_str(report)
        .map_err(|error| format!("failed to read the report as JSON: {error}"))?;
    let mut wrong = Vec::new();
    if report["reconciled"] != Value::Bool(true) {
        wrong.push(format!("reconciled is {}, not true", report["reconciled"]));
    }
    for (name, figure) in KNOWN {
        let expected = match figure {
            Figure::Count(count) => Value::from(*count),
            Figure::Amount(amount) => Value::from(*amount),
        };
        if report[*name] != expected {
            wrong.push(format!("{name} is {}, not {expected}", report[*name]));
        }
    }
    if let Disturbance::Kills { all, brokers } = disturbance {
        for (name, least) in [("kills", all), ("broker_kills", brokers)] {
            if report[name].as_u64().is_none_or(|kills| kills < least) {
                wrong.push(format!("{name} is {}, not {least} or more", report[name]));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(format!("the report is wrong:\n{}", wrong.join("\n")));
    }
    Ok("reconciled".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sound() -> Value {
        json!({
            "reconciled": true, "accepted": 69659, "charged": 69579, "revenue": "2500315.63",
            "units": 167881, "emails": 69579, "analytics_revenue": "2500315.63", "vip": 3,
            "dead_lettered": 80, "retried": 1436, "kills": 12, "broker_kills": 2, "seconds": 30.5,
        })
    }

    fn checked(report: &Value, disturbance: Disturbance) -> Result<String, String> {
        check(&report.to_string(), disturbance)
    }

    #[test]
    fn a_report_with_the_known_figures_passes_whatever_else_it_tells() {
        assert!(checked(&sound(), Disturbance::None).is_ok());
        assert!(checked(&sound(), Disturbance::Kills { all: 10, brokers: 2 }).is_ok());
    }

    #[test]
    fn every_wrong_or_missing_figure_is_listed() {
        let mut report = sound();
        report["reconciled"] = json!(false);
        report["units"] = json!(167_880);
        report["revenue"] = json!("2500315.62");
        report.as_object_mut().unwrap().remove("vip");
        let message = checked(&report, Disturbance::None).unwrap_err();
        let expected = "the report is wrong:\nreconciled is false, not true\n\
            revenue is \"2500315.62\", not \"2500315.63\"\n\
            units is 167880, not 167881\nvip is null, not 3";
        assert_eq!(message, expected);
    }

    #[test]
    fn too_few_kills_fail_a_chaos_run() {
        for (all, brokers, said) in
            [(13, 0, "\nkills is 12, not 13 or more"), (10, 3, "broker_kills is 2, not 3 or more")]
        {
            let message = checked(&sound(), Disturbance::Kills { all, brokers }).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_report_that_is_not_json_is_refused() {
        let message = check("half a rep", Disturbance::None).unwrap_err();
        assert!(message.contains("failed to read the report as JSON"), "{message}");
    }
}
