//! Connections for the transactions of handlers.

use super::failure::failed;
use super::steps::identity;
use crate::link::Target;
use crate::open::Core;
use crate::postgres::Postgres;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_postgres::config::Host;
use tramline_core::{Error, ErrorKind, Result};

/// The pool: made when it is first needed, or the user's own.
#[derive(Default)]
pub(crate) struct Pool(OnceLock<PgPool>);

/// What was idle for longer is asked whether it still works, before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

impl Pool {
    /// The user's own.
    pub(crate) fn own(pool: Option<PgPool>) -> Self {
        Self(pool.map_or_else(OnceLock::new, OnceLock::from))
    }
}

impl Postgres {
    /// The pool whose connections handlers write with, for queries and migrations of your own. Made with
    /// the first call, which has to be inside a runtime; it connects when it is used.
    pub fn pool(&self) -> &PgPool {
        self.core.pool()
    }
}

impl Core {
    pub(crate) fn pool(&self) -> &PgPool {
        self.pool.0.get_or_init(|| self.make_pool())
    }

    fn make_pool(&self) -> PgPool {
        let database: Arc<str> = identity(&self.database).into();
        PgPoolOptions::new()
            .max_connections(self.settings.handlers_max)
            // That handlers wait for one another is as it should be.
            .acquire_slow_threshold(Duration::MAX)
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for > TRUSTED {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                let database = database.clone();
                Box::pin(async move {
                    match is_here(connection, &database).await? {
                        true => Ok(()),
                        false => Err(sqlx::Error::Configuration("it is another database".into())),
                    }
                })
            })
            .connect_lazy_with(options(&self.target))
    }

    /// Checks a pool that the user brought along.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: it is on another database. Or it cannot connect.
    pub(crate) async fn check_pool(&self) -> Result<()> {
        let Some(pool) = self.pool.0.get() else { return Ok(()) };
        let doing = || format!("use the given pool for {}", self.target);
        let checked = async {
            let mut connection = pool.acquire().await?;
            is_here(&mut connection, &identity(&self.database)).await
        };
        let elsewhere = || Error::new(ErrorKind::Misconfigured, doing());
        match checked.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(elsewhere().because("it connects to another database")),
            Err(error) => Err(failed(doing(), &error)),
        }
    }
}

async fn is_here(connection: &mut PgConnection, database: &str) -> Result<bool, sqlx::Error> {
    let asked = sqlx::query_scalar("SELECT tramline.is_here($1)").bind(database);
    asked.fetch_one(connection).await
}

/// The same server and user as for the connections of the driver.
fn options(target: &Target) -> PgConnectOptions {
    let config = &target.config;
    // What it cannot read are several hosts, of which the first is taken.
    let read = target.url.parse();
    let mut options: PgConnectOptions =
        read.unwrap_or_else(|_| PgConnectOptions::new_without_pgpass());
    if let Some(port) = config.get_ports().first() {
        options = options.port(*port);
    }
    options = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => options.host(host),
        #[cfg(unix)]
        Some(Host::Unix(path)) => options.socket(path),
        None => options,
    };
    if let Some(user) = config.get_user() {
        options = options.username(user);
    }
    if let Some(password) = config.get_password() {
        options = options.password(&String::from_utf8_lossy(password));
    }
    if let Some(database) = config.get_dbname().or(config.get_user()) {
        options = options.database(database);
    }
    options
        .ssl_mode(PgSslMode::Disable)
        .application_name(config.get_application_name().unwrap_or("tramline"))
}
