//! The tables.
//!
//! Nothing that a handler writes is unique by order: a double charge or a second mail must show in
//! the figures, not vanish in a constraint. And handlers only append: a row that all of them count up
//! would have them wait for each other's commits.

use tramline::postgres::sqlx::{self, PgPool};

/// One transaction. Processes that start together take turns.
const STATEMENTS: &str = "
    BEGIN;
    SET LOCAL client_min_messages = warning;
    SELECT pg_advisory_xact_lock(6033415);
    CREATE SCHEMA IF NOT EXISTS shop;
    CREATE TABLE IF NOT EXISTS shop.orders (
        order_id bigint PRIMARY KEY,
        user_id bigint NOT NULL,
        date date NOT NULL,
        units bigint NOT NULL,
        cents bigint NOT NULL,
        event_id text NOT NULL,
        received_at bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.ledger (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        order_id bigint NOT NULL,
        cents bigint NOT NULL,
        attempt bigint NOT NULL
    );
    CREATE INDEX IF NOT EXISTS ledger_by_order ON shop.ledger (order_id);
    -- What was taken from the stock.
    CREATE TABLE IF NOT EXISTS shop.picked (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        item text NOT NULL,
        units bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.mail (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        order_id bigint NOT NULL,
        text text NOT NULL,
        written_at bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.reminder (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        order_id bigint NOT NULL,
        text text NOT NULL
    );
    -- One row for each night.
    CREATE TABLE IF NOT EXISTS shop.report (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        orders bigint NOT NULL,
        cents numeric NOT NULL,
        written_at timestamptz NOT NULL DEFAULT now()
    );
    -- Several rows for a month: its takings are their sum.
    CREATE TABLE IF NOT EXISTS shop.takings (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        month text NOT NULL,
        orders bigint NOT NULL,
        cents bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.vip (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        order_id bigint NOT NULL,
        user_id bigint NOT NULL,
        cents bigint NOT NULL
    );
    -- Which broker the orders here went through; at most one row.
    CREATE TABLE IF NOT EXISTS shop.broker (
        id int PRIMARY KEY CHECK (id = 1),
        name text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.run (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        started_at bigint NOT NULL,
        seen_at bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shop.kill (
        run bigint NOT NULL,
        killed_at bigint NOT NULL,
        worker bigint NOT NULL,
        process bigint NOT NULL,
        PRIMARY KEY (run, killed_at)
    );
    COMMIT;";

/// Makes what is not there. Every process does so when it starts.
pub(super) async fn create(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(STATEMENTS).execute(pool).await.map(|_| ())
}
