//! Connections for the transactions of handlers.

use super::failure::failed;
use super::steps::identity;
use crate::link::{Mode, Target};
use crate::open::Core;
use crate::postgres::Postgres;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tramline_core::{Error, ErrorKind, Result};

/// The pool: made when it is first needed, or the user's own.
pub(crate) struct Pool {
    pool: OnceLock<PgPool>,
    is_own: bool,
    /// Which of the servers the pool connects to.
    server: AtomicUsize,
}

/// What was idle for longer is asked whether it still works, before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

impl Pool {
    /// The user's own.
    pub(crate) fn own(pool: Option<PgPool>) -> Self {
        let is_own = pool.is_some();
        let pool = pool.map_or_else(OnceLock::new, OnceLock::from);
        Self { pool, is_own, server: AtomicUsize::new(0) }
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
        let pool = self.pool.pool.get_or_init(|| {
            self.pool.server.store(self.target.at().index, Ordering::Release);
            self.make_pool()
        });
        let server = self.target.at().index;
        // Another of several servers has become the primary.
        if !self.pool.is_own && self.pool.server.swap(server, Ordering::AcqRel) != server {
            pool.set_connect_options(options(&self.target));
        }
        pool
    }

    fn make_pool(&self) -> PgPool {
        let database: Arc<str> = identity(&self.database).into();
        let target = self.target.clone();
        PgPoolOptions::new()
            .max_connections(self.settings.handlers_max)
            // That handlers wait for one another is as it should be.
            .acquire_slow_threshold(Duration::MAX)
            .test_before_acquire(false)
            .before_acquire(move |connection, used| {
                let moved = target.at().since;
                Box::pin(async move {
                    if moved.is_some_and(|moved| moved.elapsed() < used.age) {
                        return Ok(false);
                    }
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
        let Some(pool) = self.pool.pool.get() else { return Ok(()) };
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
    let config = target.server(target.at().index);
    let mut options = match config.get_options() {
        Some(said) => {
            // There is no other way to hand them over as they are.
            let said = utf8_percent_encode(said, NON_ALPHANUMERIC);
            let read = format!("postgres://localhost?options={said}").parse();
            read.unwrap_or_else(|_| PgConnectOptions::new_without_pgpass())
        }
        None => PgConnectOptions::new_without_pgpass(),
    };
    if let Some(port) = config.get_ports().first() {
        options = options.port(*port);
    }
    // Only a name can be compared with that of a certificate.
    let address = config.get_hostaddrs().first();
    let address = address.filter(|_| target.tls.mode != Mode::VerifyFull);
    options = match (address, config.get_hosts().first()) {
        (Some(address), _) => options.host(&address.to_string()),
        (None, Some(Host::Tcp(host))) => options.host(host),
        #[cfg(unix)]
        (None, Some(Host::Unix(path))) => options.socket(path),
        (None, None) => options,
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
    if let Some(root) = &target.tls.root {
        options = options.ssl_root_cert(root);
    }
    let mode = match target.tls.mode {
        _ if config.get_ssl_mode() == SslMode::Disable => PgSslMode::Disable,
        Mode::Disable => PgSslMode::Disable,
        Mode::Prefer => PgSslMode::Prefer,
        Mode::Require => PgSslMode::Require,
        Mode::VerifyCa => PgSslMode::VerifyCa,
        Mode::VerifyFull => PgSslMode::VerifyFull,
    };
    options.ssl_mode(mode).application_name(config.get_application_name().unwrap_or("tramline"))
}
