//! The drivers behind cargo features, and which URL means which.

use tramline_core::erased::DynTransport;
use tramline_core::{Error, ErrorKind, Result};

/// The transport that `url` names.
pub(crate) async fn connect(url: &str) -> Result<Box<dyn DynTransport>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        #[cfg(feature = "memory")]
        Some("memory") => memory(url),
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => {
            Ok(Box::new(tramline_postgres::Postgres::connect(url).await?))
        }
        #[cfg(feature = "rabbitmq")]
        Some("amqp" | "amqps") => Ok(Box::new(tramline_rabbitmq::RabbitMq::connect(url).await?)),
        #[cfg(feature = "sqlite")]
        Some("sqlite") => Ok(Box::new(tramline_sqlite::Sqlite::from_url(url).await?)),
        Some(scheme) => Err(unknown(scheme)),
        None => Err(Error::new(ErrorKind::Misconfigured, format!("connect to {url:?}")).because(
            "a URL begins with its scheme, such as `memory:`, `sqlite:orders.db`, \
             `postgres://host/database` or `amqp://host`",
        )),
    }
}

#[cfg(feature = "memory")]
fn memory(url: &str) -> Result<Box<dyn DynTransport>> {
    if url != "memory:" {
        return Err(Error::new(ErrorKind::Misconfigured, format!("connect to {url:?}"))
            .because("nothing follows `memory:`"));
    }
    Ok(Box::new(tramline_memory::Memory::new()))
}

/// The scheme alone is named, on one line: the rest of a URL may hold a password.
fn unknown(scheme: &str) -> Error {
    let known = [
        #[cfg(feature = "memory")]
        "memory:",
        #[cfg(feature = "postgres")]
        "postgres:",
        #[cfg(feature = "postgres")]
        "postgresql:",
        #[cfg(feature = "rabbitmq")]
        "amqp:",
        #[cfg(feature = "rabbitmq")]
        "amqps:",
        #[cfg(feature = "sqlite")]
        "sqlite:",
    ];
    let scheme = scheme.escape_debug();
    Error::new(ErrorKind::Misconfigured, format!("connect to a URL with scheme `{scheme}:`"))
        .because(format!("this build knows {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_scheme_is_named_on_one_line_and_without_what_follows() {
        let error = connect("kaf\nka://user:secret@example.com").await.err().unwrap().to_string();
        assert!(error.contains(r"a URL with scheme `kaf\nka:`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
