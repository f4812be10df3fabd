//! One transaction for many units.
//!
//! All requests of a transaction go out together behind its `BEGIN`, whose answer is waited for: were it
//! refused, each statement behind it would commit by itself. That the `COMMIT` was one, and not the end of a
//! transaction that had failed, shows in the answers before it: all of them were good, and the last call
//! has seen that the transaction was still the one that was begun.

use super::conclusion::Conclusion;
use super::flight::Flight;
use super::unit::Work;
use crate::error::is_certain;
use crate::link::Connected;
use crate::open::Core;
use crate::queue::{Legs, Routes};
use crate::store::queued::{BEGIN, Column};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use tramline_core::Result;

/// Where several may have to wait, one after the other.
const BEGIN_APART: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL tramline.handler = 'open'; SET LOCAL lock_timeout = 20; SET LOCAL statement_timeout = 500;
    SAVEPOINT good";

/// A unit that can be tried.
pub(super) struct Ready<'a> {
    pub(super) work: &'a Work,
    pub(super) routed: &'a [Option<Legs>],
    /// Its statements, prepared.
    pub(super) statements: &'a [tokio_postgres::Statement],
}

/// Units that follow one another, whose statements are run by one request.
pub(super) struct Run<'a> {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) many: tokio_postgres::Statement,
    pub(super) columns: Vec<Column<'a>>,
}

/// Units, and what they are tried with.
pub(super) struct Attempt<'a> {
    pub(super) core: &'a Core,
    pub(super) connected: &'a Connected,
    pub(super) routes: &'a Routes,
    pub(super) calls: &'a Calls,
    pub(super) units: &'a [Ready<'a>],
}

/// What ends units, prepared.
pub(super) struct Calls {
    pub(super) conclude: tokio_postgres::Statement,
    /// If any of them changes schedules.
    pub(super) schedule: Option<tokio_postgres::Statement>,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// A statement of a unit.
    Statement {
        unit: usize,
        nth: usize,
    },
    /// The statements of units that begin with this one.
    Run {
        first: usize,
    },
    /// The end of this unit; in a group that ends as a whole, of the first.
    Conclude {
        unit: usize,
    },
    /// The schedules of this unit; in a group that ends as a whole, of all.
    Schedule {
        unit: usize,
    },
    /// What this unit has done is kept from here on.
    Keep {
        unit: usize,
    },
    /// What was not kept is undone.
    Undo,
    Commit,
}

/// How a transaction ended.
pub(super) enum Ended<F> {
    /// It is in, apart from these.
    In(F),
    /// The answer was lost: it may be in.
    Unknown(Error),
    /// Nothing is in, because of this.
    Failed(At, Error),
    /// Nothing is in: the connection was lost before anything could be.
    Lost(Error),
}

impl Attempt<'_> {
    /// All of them or none: the first fault ends it for all. Answers whether something is due earlier than all that
    /// was known.
    ///
    /// # Errors
    /// A ticket is of another database.
    pub(super) async fn together(&self, runs: Vec<Run<'_>>) -> Result<Ended<bool>> {
        let all = self.units.iter().map(|unit| (unit.work, unit.routed));
        let conclusion = Conclusion::of(self.core, self.routes.version, all)?;
        if let Err(error) = self.begin(BEGIN).await {
            return Ok(Ended::Lost(error));
        }
        let (parameters, changes) = (conclusion.parameters(), conclusion.changes());
        let mut flight = Flight::new();
        let client = self.connected.client();
        let mut sent = 0;
        for Run { first, count, many, columns } in runs {
            (sent..first).for_each(|unit| self.send_statements(unit, &mut flight));
            sent = first + count;
            flight.send(At::Run { first }, async move { client.execute_raw(&many, columns).await });
        }
        (sent..self.units.len()).for_each(|unit| self.send_statements(unit, &mut flight));
        flight.send(At::Conclude { unit: 0 }, client.execute(&self.calls.conclude, &parameters));
        self.send_changes(0, changes.as_ref(), &mut flight);
        let is_sent = self.send_commit(&mut flight);
        let (mut fault, mut wakes) = (None, false);
        for (at, answered) in flight.answers().await {
            match answered.map_err(|error| self.connected.heeded(error)) {
                Ok(rows) => wakes |= rows > 0 && matches!(at, At::Schedule { .. }),
                Err(error) => _ = fault.get_or_insert((at, error)),
            }
        }
        Ok(match fault {
            None => Ended::In(wakes),
            Some((at, error)) => failed(at, error, is_sent),
        })
    }

    /// Each for itself: what goes wrong is undone for that unit, and told of it.
    ///
    /// A savepoint of one name is set when a unit is good, which one that has failed cannot; then the
    /// transaction goes back to the last that was set: to this very moment, or to the one before the unit.
    ///
    /// # Errors
    /// A ticket is of another database.
    pub(super) async fn apart(&self) -> Result<Ended<Vec<Option<(At, Error)>>>> {
        let version = self.routes.version;
        let each = self.units.iter().map(|unit| (unit.work, unit.routed));
        let each = each.map(|one| Conclusion::of(self.core, version, std::iter::once(one)));
        let conclusions: Vec<Conclusion<'_>> = each.collect::<Result<_>>()?;
        if let Err(error) = self.begin(BEGIN_APART).await {
            return Ok(Ended::Lost(error));
        }
        let parameters = conclusions.iter().map(|one| (one.parameters(), one.changes()));
        let parameters: Vec<_> = parameters.collect();
        let client = self.connected.client();
        let mut flight = Flight::new();
        for (unit, (parameters, changes)) in parameters.iter().enumerate() {
            self.send_statements(unit, &mut flight);
            flight.send(At::Conclude { unit }, client.execute(&self.calls.conclude, parameters));
            self.send_changes(unit, changes.as_ref(), &mut flight);
            flight.send(At::Keep { unit }, self.run("SAVEPOINT good"));
            flight.send(At::Undo, self.run("ROLLBACK TO SAVEPOINT good"));
        }
        let is_sent = self.send_commit(&mut flight);
        let mut faults: Vec<Option<(At, Error)>> = self.units.iter().map(|_| None).collect();
        let (mut ended, mut not_undone) = (None, None);
        for (at, answered) in flight.answers().await {
            match (at, answered.map_err(|error| self.connected.heeded(error))) {
                (At::Undo, Ok(_)) => not_undone = None,
                (_, Ok(_)) => {}
                // The next one undoes it. Without a next, the commit finds a transaction that has failed.
                (At::Undo, Err(error)) if is_certain(&error) => not_undone = Some((at, error)),
                (
                    At::Statement { unit, .. }
                    | At::Conclude { unit }
                    | At::Schedule { unit }
                    | At::Keep { unit },
                    Err(error),
                ) if is_certain(&error) => {
                    faults[unit].get_or_insert((at, error));
                }
                (at, Err(error)) => {
                    ended.get_or_insert((at, error));
                }
            }
        }
        Ok(match ended.or(not_undone) {
            None => Ended::In(faults),
            Some((at, error)) => failed(at, error, is_sent),
        })
    }

    /// Behind everything else. Answers whether it went out: where something before it could not be sent, it
    /// must not.
    fn send_commit<'f>(&'f self, flight: &mut Flight<'f, At>) -> bool {
        let is_whole = flight.is_sent();
        let sent = flight.send(At::Commit, self.run(if is_whole { "COMMIT" } else { "ROLLBACK" }));
        is_whole && sent
    }

    async fn begin(&self, begin: &str) -> Result<(), Error> {
        self.connected.run(begin).await
    }

    fn send_statements<'f>(&'f self, unit: usize, flight: &mut Flight<'f, At>) {
        let Ready { work, statements, .. } = &self.units[unit];
        for (nth, (statement, queued)) in statements.iter().zip(&work.statements).enumerate() {
            let request = self.connected.client().execute_raw(statement, &queued.parameters);
            flight.send(At::Statement { unit, nth }, request);
        }
    }

    fn send_changes<'f>(
        &'f self,
        unit: usize,
        changes: Option<&'f [&'f (dyn ToSql + Sync); 9]>,
        flight: &mut Flight<'f, At>,
    ) {
        if let (Some(changes), Some(schedule)) = (changes, &self.calls.schedule) {
            let request = self.connected.client().execute(schedule, changes);
            flight.send(At::Schedule { unit }, request);
        }
    }

    async fn run(&self, sql: &str) -> Result<u64, Error> {
        self.connected.client().batch_execute(sql).await.map(|()| 0)
    }
}

/// The first fault says whether anything can be in. The server answers in order: whatever it says in place
/// of an answer before that of `COMMIT`, it has not come to that.
fn failed<F>(at: At, error: Error, is_commit_sent: bool) -> Ended<F> {
    let is_said = error.as_db_error().is_some();
    match at {
        _ if !is_commit_sent && !is_said => Ended::Lost(error),
        At::Commit if !is_certain(&error) => Ended::Unknown(error),
        // A proxy says so in place of any answer, that of the commit included.
        _ if !is_said || is_of_the_way(&error) => Ended::Unknown(error),
        At::Commit => Ended::Failed(at, error),
        _ if !is_certain(&error) => Ended::Lost(error),
        _ => Ended::Failed(at, error),
    }
}

/// Whether it is about the way to the server.
fn is_of_the_way(error: &Error) -> bool {
    !is_certain(error) && error.code().is_some_and(|state| state.code().starts_with("08"))
}
