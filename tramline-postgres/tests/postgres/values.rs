//! What a queued statement may be called with.

use crate::kit::{begin, column, opened, within};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, Postgres as Server};
use tramline_core::Failure;
use tramline_core::compose::Publishing;
use tramline_core::store::Store;
use tramline_postgres::{Parameter, Parameters, Postgres, sqlx};

/// A type of the database's own, known by its name.
struct Mood(&'static str);

impl sqlx::Type<Server> for Mood {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("mood")
    }
}

impl PgHasArrayType for Mood {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("mood")
    }
}

impl Encode<'_, Server> for Mood {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<'_, Server>>::encode(self.0, buffer)
    }
}

/// Runs a statement both ways: in a group, and in the handler's own transaction.
async fn run(postgres: &Postgres, sql: &'static str, parameters: impl Fn() -> Vec<Parameter>) {
    for is_own in [false, true] {
        let mut tx = begin(postgres, Publishing::Queues).await;
        if is_own {
            tx.connection().await.unwrap();
        }
        tx.write(sql, parameters()).unwrap();
        within(postgres.commit(tx, Vec::new(), Vec::new())).await.unwrap();
    }
}

fn encoded(parameters: impl Parameters) -> Vec<Parameter> {
    parameters.encoded().unwrap()
}

#[tokio::test]
async fn values_of_all_kinds_arrive_as_they_were_both_ways() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad');
         CREATE TABLE held (b bool, i smallint, n bigint, d double precision, t text, nothing int,
             raw bytea, ns int[], ts text[], ids uuid, doc jsonb, json json, how mood, none mood)",
    );
    let sql = "INSERT INTO held VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::uuid,
         $11::text::jsonb, $12::text::json, $13, $14)";
    run(&postgres, sql, || {
        encoded((
            true,
            -3_i16,
            i64::MIN,
            1.5_f64,
            "it's".to_owned(),
            None::<i32>,
            &b"\0\xff"[..],
            vec![Some(1), None],
            ["a", "b,c"],
            "8f14e45f-ceea-467f-a8c5-d8a4b7d1e0aa",
            r#"{"a": [1]}"#,
            Some(r#"{"a":  1}"#),
            Mood("glad"),
            None::<Mood>,
        ))
    })
    .await;
    let row = "(t,-3,-9223372036854775808,1.5,it's,,\"\\\\x00ff\",\"{1,NULL}\",\"{a,\"\"b,c\"\"}\",\
               8f14e45f-ceea-467f-a8c5-d8a4b7d1e0aa,\"{\"\"a\"\": [1]}\",\"{\"\"a\"\":  1}\",glad,)";
    assert_eq!(column(&database, "SELECT held::text FROM held"), [row, row]);
}

#[tokio::test]
async fn parameters_come_as_a_tuple_an_array_a_slice_or_a_list() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("CREATE TABLE said (a text, b text)");
    let sql = "INSERT INTO said VALUES ($1, $2)";
    let list = || ["a", "b"].map(|word| Parameter::new(word).unwrap()).to_vec();
    run(&postgres, sql, || encoded(("a", "b"))).await;
    run(&postgres, sql, || encoded(["a", "b"])).await;
    run(&postgres, sql, || encoded(&["a".to_owned(), "b".to_owned()][..])).await;
    run(&postgres, sql, list).await;
    assert_eq!(
        column(&database, "SELECT DISTINCT said::text || count(*) FROM said GROUP BY said"),
        ["(a,b)8"]
    );
}

#[tokio::test]
async fn a_value_that_the_server_does_not_take_fails_its_unit() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE held (how mood)");
    for is_own in [false, true] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if is_own {
            tx.connection().await.unwrap();
        }
        tx.write("INSERT INTO held VALUES ($1)", (Mood("odd"),)).unwrap();
        let ended = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
        let error = Failure::retryable(ended.unwrap_err()).to_string();
        assert!(error.contains("invalid input value for enum mood: \"odd\""), "{error}");
    }
    let refused = Parameter::new(vec![Mood("glad")]).unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
}

/// `sqlx` remembers a statement by its text, whatever the types of its parameters.
#[tokio::test]
async fn one_text_may_be_called_with_several_types() {
    let Some((database, _postgres)) = opened().await else { return };
    let postgres = Postgres::options(database.url.as_str()).handlers_max(1).open().await.unwrap();
    let sql = "INSERT INTO numbers VALUES ($1)";
    run(&postgres, "DELETE FROM numbers WHERE n = $1", || encoded((0_i64,))).await;
    for (n, parameters) in [(1, encoded((1_i64,))), (2, encoded((2_i32,))), (3, encoded((3_i16,)))]
    {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        tx.connection().await.unwrap();
        tx.write(sql, parameters).unwrap();
        let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
        committed.unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    assert_eq!(column(&database, "SELECT n FROM numbers ORDER BY n"), ["1", "2", "3"]);
}
