//! Ports that nobody uses: ten for each member of a server, always the same ones once chosen.

use crate::{Error, Result};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// How many ports belong to one member, with its first one a multiple of it.
pub(crate) const EACH: u16 = 10;

/// Below what the system hands out to clients, so that no connection takes a stopped server's port.
const RANGE: Range<u16> = 20_000..32_000;

/// The first port of a free block for this many members, beside what others have chosen. Searching
/// from a random place keeps checkouts apart that know nothing of each other.
pub(crate) fn choose(members: u16, chosen: &[Range<u16>]) -> Option<u16> {
    let from = RandomState::new().hash_one("ports");
    candidates(members, chosen, from).find(|block| block.clone().all(is_free)).map(|it| it.start)
}

/// That nothing listens on the ports of a server that is to be started.
pub(crate) fn require_free(name: &str, ports: &[u16]) -> Result<()> {
    taken(ports).map_or(Ok(()), |port| {
        Err(Error::failed(format!(
            "failed to start {name}: its port {port} is taken by another program; end that, or let \
             `cargo xtask services down --wipe {name}` forget the data and choose other ports"
        )))
    })
}

fn taken(ports: &[u16]) -> Option<u16> {
    ports.iter().copied().find(|port| !is_free(*port))
}

/// All blocks of the range, beginning anywhere, without those that touch a chosen one.
fn candidates(
    members: u16,
    chosen: &[Range<u16>],
    from: u64,
) -> impl Iterator<Item = Range<u16>> + '_ {
    let (length, step) = (members * EACH, usize::from(EACH));
    let starts: Vec<u16> = (RANGE.start..RANGE.end - length).step_by(step).collect();
    let first = from as usize % starts.len();
    let in_order = (0..starts.len()).map(move |nth| starts[(first + nth) % starts.len()]);
    in_order.map(move |start| start..start + length).filter(|block| {
        !chosen.iter().any(|other| block.start < other.end && other.start < block.end)
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_a_candidate_once_wherever_the_search_begins() {
        for from in [0, 7, u64::MAX] {
            let mut starts: Vec<u16> = candidates(3, &[], from).map(|block| block.start).collect();
            starts.sort_unstable();
            let all: Vec<u16> = (20_000..31_970).step_by(10).collect();
            assert_eq!(starts, all);
        }
    }

    #[test]
    fn a_block_that_touches_a_chosen_one_is_no_candidate() {
        let chosen = [20_030..20_040, 20_080..20_090];
        let starts: Vec<u16> = candidates(3, &chosen, 0).map(|block| block.start).take(4).collect();
        assert_eq!(starts, [20_000, 20_040, 20_050, 20_090]);
    }

    /// Port 0, which the system takes for any free one, is the only port that is surely free: one
    /// that was just closed may go to a connection of anybody.
    #[test]
    fn of_several_ports_the_one_somebody_listens_on_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(taken(&[0, port, 0]), Some(port));
        assert_eq!(taken(&[0]), None);
    }
}
