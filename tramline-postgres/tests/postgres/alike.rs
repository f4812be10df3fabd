//! Units that say the same, with other values, are run by one request.

use crate::kit::{allow_to_work, begin, column, open, opened, within};
use futures_util::future::join_all;
use tramline_core::compose::Publishing;
use tramline_core::store::{CommitError, Committed, Store};
use tramline_postgres::{Parameters, Postgres};
use tramline_services::testing::{Database, Role};

/// Each row knows what the server was asked when it came.
const TABLE: &str = "CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE noted (n bigint PRIMARY KEY, found text, mood mood, at timestamptz, parts text[],
        asked text DEFAULT current_query());
    CREATE TABLE followed (n bigint REFERENCES noted, asked text DEFAULT current_query())";

async fn write<P: Parameters>(
    postgres: &Postgres,
    statements: impl IntoIterator<Item = (&'static str, P)>,
) -> Result<Committed, CommitError> {
    let mut tx = begin(postgres, Publishing::Queues).await;
    for (sql, parameters) in statements {
        tx.write(sql, parameters).unwrap();
    }
    within(postgres.commit(tx, Vec::new(), Vec::new())).await
}

/// How many rows of `table` came by a request for many units, and how many by one of their own.
fn asked(database: &Database, table: &str) -> (i64, i64) {
    let count = |is: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE asked {is} '%pg_temp.tramline%'");
        column(database, &sql).remove(0).parse().unwrap()
    };
    (count("LIKE"), count("NOT LIKE"))
}

fn all_done(ended: Vec<Result<Committed, CommitError>>) {
    for ended in ended {
        assert_eq!(ended.unwrap(), Committed::Done);
    }
}

#[tokio::test]
async fn units_that_say_the_same_are_run_together_and_each_in_its_order() {
    const NOTE: &str = "INSERT INTO noted (n, found) SELECT $1, $2
        WHERE NOT EXISTS (SELECT FROM noted WHERE found = $2); ";
    const FOLLOW: &str = "INSERT INTO followed (n) VALUES ($1) -- what it says of";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(TABLE);
    let units = (0..60_i64).map(|n| {
        let (postgres, found) = (&postgres, (n % 2 == 0).then(|| format!("text {n}")));
        async move {
            let mut tx = begin(postgres, Publishing::Queues).await;
            tx.write(NOTE, (n, found)).unwrap();
            // Refers to what the one before it has written.
            tx.write(FOLLOW, [n]).unwrap();
            within(postgres.commit(tx, Vec::new(), Vec::new())).await
        }
    });
    all_done(join_all(units).await);
    let (many, one) = asked(&database, "noted");
    assert_eq!(many + one, 60);
    assert!(many > 40, "{many} of 60 came together");
    let rows =
        "SELECT n || ' ' || coalesce(found, 'NULL') FROM noted JOIN followed USING (n) ORDER BY n";
    let expected = (0..60).map(|n| match n % 2 {
        0 => format!("{n} text {n}"),
        _ => format!("{n} NULL"),
    });
    assert_eq!(column(&database, rows), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn one_that_fails_among_those_that_say_the_same_fails_alone() {
    const NOTE: &str = "INSERT INTO noted (n) VALUES ($1)";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(TABLE);
    for round in 0..3_i64 {
        let units = (0..20_i64).map(|n| write(&postgres, [(NOTE, (n.max(3) + 100 * round,))]));
        let ended = join_all(units).await;
        let failed = ended.iter().filter(|ended| ended.is_err()).count();
        assert_eq!(failed, 3, "0 to 3 are one number: {ended:?}");
        database.sql("DELETE FROM noted WHERE n % 100 = 3");
    }
    database.sql("TRUNCATE noted CASCADE");
    all_done(join_all((400..440_i64).map(|n| write(&postgres, [(NOTE, (n,))]))).await);
    assert!(asked(&database, "noted").0 > 20, "and the next ones are run together again");
}

/// A quoted function cannot have the quote in it, and a row for nobody is an error there, or an assignment.
#[tokio::test]
async fn what_cannot_be_run_together_is_run_one_by_one() {
    const QUOTED: &str = "INSERT INTO noted (n, found) VALUES ($1, $$ $tramline$ $$)";
    const ANSWERS: &str = "INSERT INTO noted (n) VALUES ($1) RETURNING n";
    const MADE: &str =
        "WITH made AS (SELECT $1::bigint AS n) INSERT INTO noted (n) SELECT n FROM made";
    const NAMED: &str = "INSERT INTO noted (n, mood) VALUES ($1, 'sad')";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(TABLE);
    for (nth, (sql, is_together)) in
        [(QUOTED, false), (ANSWERS, false), (MADE, false), (NAMED, true)].into_iter().enumerate()
    {
        let first = 100 * nth as i64;
        all_done(join_all((0..40).map(|n| write(&postgres, [(sql, (first + n,))]))).await);
        let (many, one) = asked(&database, "noted");
        assert_eq!((many + one, many > 0), (40, is_together), "{sql}");
        database.sql("DELETE FROM noted");
    }
    const PARTS: &str = "INSERT INTO noted (n, parts) VALUES (cardinality($1::text[]), $1)";
    let parts = |n: usize| vec!["part".to_owned(); n];
    all_done(join_all((1..40).map(|n| write(&postgres, [(PARTS, (parts(n),))]))).await);
    assert_eq!(asked(&database, "noted"), (0, 39), "there are no arrays of arrays");
}

/// It needs the right `TEMPORARY` on the database, and says nothing of it.
#[tokio::test]
async fn who_may_make_no_functions_of_a_session_has_his_units_run_one_by_one() {
    const NOTE: &str = "INSERT INTO noted (n) VALUES ($1)";
    let Some((database, _postgres)) = opened().await else { return };
    database.sql(TABLE);
    let role = Role::of(&database);
    allow_to_work(&database, &role);
    database.sql(&format!("GRANT ALL ON noted TO \"{}\"", role.name));
    let on = format!("TEMPORARY ON DATABASE \"{}\"", database.name);
    for (is_together, change) in
        [(true, format!("GRANT {on} TO PUBLIC")), (false, format!("REVOKE {on} FROM PUBLIC"))]
    {
        database.sql(&change);
        let postgres = Postgres::connect(role.url()).await.unwrap();
        for round in 0..2_i64 {
            let units = (0..40_i64).map(|n| write(&postgres, [(NOTE, (n + 100 * round,))]));
            all_done(join_all(units).await);
        }
        let (many, one) = asked(&database, "noted");
        assert_eq!((many + one, many > 0), (80, is_together), "{change}");
        database.sql("DELETE FROM noted");
    }
}

#[tokio::test]
async fn units_that_take_too_long_together_are_run_one_by_one() {
    const SLOW: &str = "INSERT INTO noted (n) SELECT $1 FROM pg_sleep(0.02)";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(TABLE);
    all_done(join_all((0..60_i64).map(|n| write(&postgres, [(SLOW, (n,))]))).await);
    assert_eq!(asked(&database, "noted"), (0, 60));
}

/// Behind a proxy a request may come to a session in which somebody else has made his functions.
#[tokio::test]
async fn what_is_run_together_has_names_of_its_own() {
    const NOTE: &str = "INSERT INTO noted (n) VALUES ($1)";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(TABLE);
    let other = open(&database).await;
    all_done(join_all((0..40_i64).map(|n| write(&postgres, [(NOTE, (n,))]))).await);
    all_done(join_all((40..80_i64).map(|n| write(&other, [(NOTE, (n,))]))).await);
    let names = "SELECT count(*) || ' ' || count(DISTINCT proname) FROM pg_proc
        WHERE pronamespace <> 'tramline'::regnamespace AND proname LIKE 'tramline%'";
    assert_eq!(column(&database, names), ["2 2"]);
}
