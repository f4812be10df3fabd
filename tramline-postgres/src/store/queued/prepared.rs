//! Statements as one connection has prepared them.

use super::many;
use super::parameter::INFERRED;
use super::statement::{Shape, Statement};
use crate::link::Connected;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio_postgres::types::{Kind, Type};

/// The statements that were prepared on the connection that is used now.
#[derive(Default)]
pub(in crate::store) struct Prepared {
    connected: Weak<Connected>,
    statements: HashMap<Shape, Entry>,
    /// What runs lists of statements many times; or until when they are run one by one.
    many: HashMap<Vec<Shape>, Result<tokio_postgres::Statement, Instant>>,
    used: u64,
}

struct Entry {
    statement: tokio_postgres::Statement,
    /// The greater, the later.
    last_used: u64,
}

/// What a transaction of many units begins with. Nobody waits long in it, as others would wait along.
pub(in crate::store) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL tramline.handler = 'open'; SET LOCAL lock_timeout = 100; SET LOCAL statement_timeout = 500";
/// How many are kept; the one that was not used for the longest time goes first.
const KEPT_MAX: usize = 200;

/// How many lists of statements are run many times; functions stay for as long as their session.
const MANY_MAX: usize = 200;
/// For how long those are run one by one that failed together for another reason than their values.
const ONE_BY_ONE: Duration = Duration::from_secs(30);

/// Why a statement is not prepared.
pub(in crate::store) enum Preparing {
    Failed(tokio_postgres::Error),
    /// It takes so many parameters, and not as many as there are.
    Takes(usize),
}

impl Prepared {
    /// The statement, prepared now if it is not yet, outside of any transaction.
    pub(in crate::store) async fn get(
        &mut self,
        connected: &Arc<Connected>,
        shape: &Shape,
    ) -> Result<tokio_postgres::Statement, Preparing> {
        let here = Arc::downgrade(connected);
        if !self.connected.ptr_eq(&here) {
            *self = Self { connected: here, ..Self::default() };
        }
        self.used += 1;
        if let Some(entry) = self.statements.get_mut(shape) {
            entry.last_used = self.used;
            return Ok(entry.statement.clone());
        }
        let statement = prepare(connected, shape).await.map_err(Preparing::Failed)?;
        let takes = statement.params().len();
        if takes != shape.oids.len() {
            return Err(Preparing::Takes(takes));
        }
        self.make_room();
        let entry = Entry { statement: statement.clone(), last_used: self.used };
        self.statements.insert(shape.clone(), entry);
        Ok(statement)
    }

    /// What runs these statements, which are prepared, for many units; prepared now if it is not yet, outside of
    /// any transaction, and named by the `nonce`. `None`: they are to be run one by one.
    pub(in crate::store) async fn many(
        &mut self,
        connected: &Arc<Connected>,
        statements: &[Statement],
        prepared: &[tokio_postgres::Statement],
        nonce: u64,
    ) -> Option<tokio_postgres::Statement> {
        let (shapes, now) = (shapes(statements), Instant::now());
        match self.many.get(&shapes) {
            Some(Ok(many)) => return Some(many.clone()),
            Some(Err(until)) if now < *until => return None,
            _ => {}
        }
        if self.many.len() >= MANY_MAX {
            self.many.retain(|_, many| many.as_ref().err().is_none_or(|until| now < *until));
        }
        if self.many.len() >= MANY_MAX {
            return None;
        }
        let each: Vec<_> = statements.iter().zip(prepared).collect();
        let many = many::prepare(connected, &each, nonce).await;
        self.many.insert(shapes, many.clone().ok_or(now + ONE_BY_ONE));
        many
    }

    /// For a while these are run one by one.
    pub(in crate::store) fn one_by_one(&mut self, statements: &[Statement]) {
        self.many.insert(shapes(statements), Err(Instant::now() + ONE_BY_ONE));
    }

    /// The server knows it no more, or what it reads has changed.
    pub(in crate::store) fn forget(&mut self, shape: &Shape) {
        self.statements.remove(shape);
    }

    fn make_room(&mut self) {
        if self.statements.len() >= KEPT_MAX {
            let oldest = self.statements.iter().min_by_key(|(_, entry)| entry.last_used);
            if let Some(oldest) = oldest.map(|(shape, _)| shape.clone()) {
                self.statements.remove(&oldest);
            }
        }
    }
}

fn shapes(statements: &[Statement]) -> Vec<Shape> {
    statements.iter().map(|one| one.shape.clone()).collect()
}

/// In a transaction of its own, for its limits: to prepare a statement, its tables are locked.
async fn prepare(
    connected: &Connected,
    shape: &Shape,
) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
    let types: Vec<Type> = shape.oids.iter().map(|oid| server_type(*oid)).collect();
    let client = connected.client();
    if let Err(error) = client.batch_execute(BEGIN).await {
        // One that was cancelled leaves a transaction that has failed.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(error);
    }
    let prepared = client.prepare_typed(&shape.sql, &types).await;
    client.batch_execute("COMMIT").await?;
    prepared
}

fn server_type(oid: u32) -> Type {
    match oid {
        INFERRED => Type::UNKNOWN,
        oid => Type::from_oid(oid)
            .unwrap_or_else(|| Type::new(oid.to_string(), oid, Kind::Simple, String::new())),
    }
}
