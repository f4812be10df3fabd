//! What each test of the driver holds.

use tramline_rabbitmq::RabbitMq;

pub(crate) use tramline_services::testing::{PATIENCE, Raw, User, Vhost};

/// A handle like an application's.
pub(crate) trait Connect {
    async fn connect(&self) -> RabbitMq;
}

impl Connect for Vhost {
    async fn connect(&self) -> RabbitMq {
        RabbitMq::connect(self.url.as_str()).await.unwrap()
    }
}

impl Connect for User<'_> {
    async fn connect(&self) -> RabbitMq {
        RabbitMq::connect(self.url().as_str()).await.unwrap()
    }
}
