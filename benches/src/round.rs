//! Rounds: twin and ours in turns, and what they show together.

use crate::Result;
use clap::Args;

/// How much is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Plan {
    /// How often each case runs, twin and ours
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long one run of the twin takes, about
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Messages of each run, instead of so many seconds
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// Leaves the twin out, for a profiler
    #[arg(long)]
    pub(crate) ours_only: bool,
}

/// A path of ours and its twin.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What each run measures, in the order of [`Run::values`].
    pub(crate) figures: &'static [Figure],
    pub(crate) amount: Amount,
    pub(crate) ours: Side,
    pub(crate) twin: Option<Side>,
}

/// Runs once, with so many messages, in a world of its own.
pub(crate) type Side = Box<dyn Fn(u64) -> Result<Run>>;

#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// Behind the name of the case; empty if it has one figure only.
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// Messages a second.
pub(crate) const RATE: &[Figure] = &[Figure { name: "", unit: "msg/s" }];

/// How many messages a run has.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// As many as fill the time at full speed, found by a run with `first` of them.
    FullSpeed {
        first: u64,
        max: u64,
    },
    /// So many a second.
    Paced(u64),
    Fixed(u64),
}

/// What one run measured.
pub(crate) struct Run {
    pub(crate) values: Vec<f64>,
    pub(crate) cpu_micros: f64,
}

/// What all runs of one side measured.
#[derive(Default)]
pub(crate) struct Series(Vec<Run>);

pub(crate) struct Measured {
    pub(crate) ours: Series,
    pub(crate) twin: Option<Series>,
}

/// Runs a case in rounds.
pub(crate) fn measure(case: &Case, plan: &Plan) -> Result<Measured> {
    let messages = messages(case, plan)?;
    let twin = case.twin.as_ref().filter(|_| !plan.ours_only);
    let mut measured = Measured { ours: Series::default(), twin: twin.map(|_| Series::default()) };
    for round in 0..plan.rounds {
        let twin_is_first = round % 2 == 0;
        for twins_turn in [twin_is_first, !twin_is_first] {
            if !twins_turn {
                measured.ours.0.push((case.ours)(messages)?);
            } else if let (Some(twin), Some(series)) = (twin, &mut measured.twin) {
                series.0.push(twin(messages)?);
            }
        }
    }
    Ok(measured)
}

/// How many messages each run has; both sides the same. Warms both up where it must find out.
fn messages(case: &Case, plan: &Plan) -> Result<u64> {
    if let Some(messages) = plan.messages {
        return Ok(messages.max(1));
    }
    Ok(match case.amount {
        Amount::Fixed(messages) => messages,
        Amount::Paced(a_second) => (a_second as f64 * plan.seconds).max(1.0) as u64,
        Amount::FullSpeed { first, max } => {
            let ours = (case.ours)(first)?;
            let fastest = match &case.twin {
                Some(twin) if !plan.ours_only => twin(first)?,
                _ => ours,
            };
            let rate = fastest.values.first().copied().unwrap_or_default();
            ((rate * plan.seconds) as u64).clamp(first.min(max), max)
        }
    })
}

impl Series {
    /// A single run.
    pub(crate) fn of(run: Run) -> Self {
        Self(vec![run])
    }

    /// Median, smallest and largest of a figure.
    pub(crate) fn spread(&self, figure: usize) -> Spread {
        Spread::of(self.0.iter().filter_map(|run| run.values.get(figure).copied()).collect())
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        Spread::of(self.0.iter().map(|run| run.cpu_micros).collect()).median
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (len, middle) = (values.len(), values.len() / 2);
        let median = if len % 2 == 0 && len > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(len.saturating_sub(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn case(order: &Rc<RefCell<String>>) -> Case {
        let side = |name: char, value: f64| -> Side {
            let order = order.clone();
            Box::new(move |messages| {
                order.borrow_mut().push(name);
                Ok(Run { values: vec![value * messages as f64], cpu_micros: 1.0 })
            })
        };
        Case {
            name: "case".to_owned(),
            figures: RATE,
            amount: Amount::Fixed(10),
            ours: side('o', 1.0),
            twin: Some(side('t', 2.0)),
        }
    }

    #[test]
    fn twin_and_ours_take_turns_and_change_who_begins() {
        let order = Rc::default();
        let plan = Plan { rounds: 3, seconds: 1.0, messages: None, ours_only: false };
        let measured = measure(&case(&order), &plan).unwrap();
        assert_eq!(*order.borrow(), "tootto");
        assert_eq!(measured.ours.spread(0).median, 10.0);
        assert_eq!(measured.twin.unwrap().spread(0).median, 20.0);
    }

    #[test]
    fn full_speed_fills_the_time_after_both_are_warm() {
        let order = Rc::default();
        let case = Case { amount: Amount::FullSpeed { first: 100, max: 150 }, ..case(&order) };
        let plan = Plan { rounds: 1, seconds: 1.0, messages: None, ours_only: false };
        assert_eq!(messages(&case, &plan).unwrap(), 150);
        assert_eq!(*order.borrow(), "ot");
        let plan = Plan { messages: Some(7), ..plan };
        assert_eq!(messages(&case, &plan).unwrap(), 7);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0]).median, 2.5);
    }
}
