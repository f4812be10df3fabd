//! How links are, for health checks.

use super::link::LinkState;
use super::session::Blocked;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::health::Health;

impl LinkState {
    /// As a health check shows it.
    pub(crate) fn health(&self) -> Health {
        match self {
            // Its end is noticed by the link in this very moment.
            Self::Up(session) if session.has_ended() => Health::Reconnecting {
                since: SystemClock.now(),
                error: "the connection has ended".to_owned(),
            },
            Self::Up(session) => match session.blocked() {
                Some(Blocked { since, reason }) => Health::Blocked { since, reason },
                None => Health::Connected,
            },
            Self::Down { since, error } => {
                Health::Reconnecting { since: *since, error: error.to_string() }
            }
            Self::Closed => Health::Closed,
        }
    }
}

/// The worse of two: who has lost one connection of two has lost what it is for.
pub(crate) fn worse(one: Health, other: Health) -> Health {
    let rank = |health: &Health| match health {
        Health::Connected => 0,
        Health::Blocked { .. } => 1,
        Health::Reconnecting { .. } => 2,
        Health::Closed => 3,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::clock::Timestamp;

    #[test]
    fn the_worse_of_two_connections_counts() {
        let since = Timestamp::from_millis(1);
        let blocked = || Health::Blocked { since, reason: "low on memory".to_owned() };
        let lost = || Health::Reconnecting { since, error: "refused".to_owned() };
        let in_order = [Health::Connected, blocked(), lost(), Health::Closed];
        for (place, better) in in_order.iter().enumerate() {
            for worst in &in_order[place..] {
                assert_eq!(worse(better.clone(), worst.clone()), *worst);
                assert_eq!(worse(worst.clone(), better.clone()), *worst);
            }
        }
    }
}
