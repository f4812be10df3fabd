//! The command line of `cargo xtask test`, and the run through its steps.

use super::outcome::Outcome;
use super::servers::{self, Required};
use super::steps::{self, STEPS, Step};
use super::summary::{Row, render};
use crate::workspace::Workspace;
use clap::Args;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tramline_services::{kinds, shared_kinds};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Servers whose absence is a failure; with `all`, any skipped test is one
    #[arg(long, value_name = "all|NAME,...", value_delimiter = ',')]
    require: Vec<String>,
    /// Run these steps alone
    #[arg(long, value_name = "STEP,...", value_delimiter = ',')]
    only: Vec<String>,
    /// List the steps and run none
    #[arg(long)]
    list: bool,
}

/// Runs the chosen steps, all of them even when one fails, and sums them up.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let required = Required::named(&arguments.require, kinds())?;
    let steps = steps::chosen(&arguments.only, STEPS)?;
    if arguments.list {
        steps.iter().for_each(|step| println!("{:<23}{}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    let mut workspace = Workspace::here()?;
    workspace.require(&required.told());
    let mut rows: Vec<Row> = Vec::new();
    let mut started = Vec::new();
    let finds_servers = steps.iter().any(|step| step.finds_servers);
    for name in shared_kinds().filter(|_| finds_servers) {
        let begun = Instant::now();
        match servers::provide(name, &mut workspace, |variable| std::env::var(variable).ok()) {
            Ok(server) => started.extend(server),
            Err(outcome) => {
                let outcome = required.judge(name, outcome);
                println!("{}", result_line(name, &outcome, begun.elapsed()));
                rows.push(Row { name, outcome, took: begun.elapsed() });
            }
        }
    }
    if finds_servers && let Err(outcome) = servers::provide_pooler() {
        let name = "pgbouncer";
        let outcome = required.judge(name, outcome);
        println!("{}", result_line(name, &outcome, Duration::ZERO));
        rows.push(Row { name, outcome, took: Duration::ZERO });
    }
    rows.extend(steps.iter().map(|step| run_step(step, &workspace, &required)));
    drop(started);
    print!("\n{}", render(&rows));
    let failed = rows.iter().any(|row| row.outcome.tally().failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_step(step: &Step, workspace: &Workspace, required: &Required) -> Row {
    println!("\n==> {}", step.name);
    let started = Instant::now();
    let outcome = required.judge(step.name, (step.run)(workspace));
    let took = started.elapsed();
    println!("{}", result_line(step.name, &outcome, took));
    Row { name: step.name, outcome, took }
}

/// What became of a step, in one line; the summary tells a longer story whole.
fn result_line(name: &str, outcome: &Outcome, took: Duration) -> String {
    let (verdict, seconds) = (outcome.verdict, took.as_secs_f64());
    let mut line = format!("    {name} {verdict} in {seconds:.1} s");
    let counts = outcome.tests.map(|tests| tests.to_string());
    let detail = outcome.detail.lines().next().map(str::to_owned);
    for part in [counts, detail].into_iter().flatten() {
        line = line + ": " + &part;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::outcome::Counts;

    #[test]
    fn a_step_is_summed_up_in_one_line() {
        let took = Duration::from_millis(1_250);
        let line = |outcome| result_line("orders", &outcome, took);
        assert_eq!(line(Outcome::of_one(Ok(String::new()))), "    orders passed in 1.2 s");
        let failed = Outcome::of_one(Err("the report is wrong:\nvip is 2".to_owned()));
        assert_eq!(line(failed), "    orders FAILED in 1.2 s: the report is wrong:");
        let tests = Outcome::of_tests(Counts { passed: 4, failed: 0, skipped: 1 }, None);
        assert_eq!(line(tests), "    orders passed in 1.2 s: 4 passed, 0 failed, 1 skipped");
    }
}
