//! Wakes receivers in other processes: a datagram on the loopback device that names queues.
//!
//! A datagram may be lost; each process looks into the file by itself now and then.

use crate::queue::routes::Neighbour;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Begins every datagram, so that a stray one is told apart.
const MARK: [u8; 8] = *b"tramline";
/// Where there are more, the neighbour looks at all of its queues.
const QUEUES_MAX: usize = 64;
/// At most one datagram for each neighbour in this time.
const PAUSE: Duration = Duration::from_millis(1);

/// This process's socket, and what is to be sent through it.
pub(crate) struct Neighbours {
    socket: Option<UdpSocket>,
    post: Arc<Post>,
}

/// What waits to be sent: filled by the writer, emptied by a thread of its own, because a
/// datagram costs as much as several messages.
#[derive(Default)]
struct Post {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    letters: BTreeMap<u16, BTreeSet<i64>>,
    closed: bool,
}

/// What a datagram says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// These queues have something new.
    Queues(Vec<i64>),
    /// Many have.
    All,
}

impl Neighbours {
    pub(crate) fn new() -> Self {
        let post = Arc::<Post>::default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let socket = socket.inspect_err(|error| {
            tracing::warn!(%error, "no datagrams between processes: they look into the file");
        });
        let socket = socket.ok();
        if let Some(sender) = socket.as_ref().and_then(|socket| socket.try_clone().ok()) {
            let post = post.clone();
            let thread = thread::Builder::new().name("tramline-wake".to_owned());
            if let Err(error) = thread.spawn(move || post.send_through(&sender)) {
                tracing::warn!(%error, "no thread to wake other processes with");
            }
        }
        Self { socket, post }
    }

    /// Where this process is called.
    pub(crate) fn port(&self) -> Option<u16> {
        Some(self.socket.as_ref()?.local_addr().ok()?.port())
    }

    pub(crate) fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// Calls every neighbour that reads one of `queues`. Does not wait.
    pub(crate) fn wake(&self, neighbours: &[Neighbour], queues: &BTreeSet<i64>) {
        let mut waiting = None;
        for neighbour in neighbours {
            for queue in neighbour.queues.iter().filter(|queue| queues.contains(queue)) {
                let waiting = waiting.get_or_insert_with(|| self.post.waiting.lock());
                waiting.letters.entry(neighbour.port).or_default().insert(*queue);
            }
        }
        if waiting.is_some() {
            drop(waiting);
            self.post.filled.notify_one();
        }
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.post.waiting.lock().closed = true;
        self.post.filled.notify_one();
    }
}

impl Post {
    fn send_through(&self, socket: &UdpSocket) {
        loop {
            let letters = {
                let mut waiting = self.waiting.lock();
                while waiting.letters.is_empty() && !waiting.closed {
                    self.filled.wait(&mut waiting);
                }
                if waiting.closed {
                    return;
                }
                std::mem::take(&mut waiting.letters)
            };
            for (port, queues) in letters {
                // A neighbour that is gone is not a failure; its row goes soon, too.
                let _ = socket.send_to(&write(&queues), (Ipv4Addr::LOCALHOST, port));
            }
            thread::sleep(PAUSE);
        }
    }
}

fn write(queues: &BTreeSet<i64>) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    if queues.len() <= QUEUES_MAX {
        queues.iter().for_each(|queue| bytes.extend(queue.to_be_bytes()));
    }
    bytes
}

/// What a datagram says; `None` for one that is not ours.
pub(crate) fn read(bytes: &[u8]) -> Option<Call> {
    let queues = bytes.strip_prefix(&MARK)?;
    let (queues, rest) = queues.as_chunks();
    match (queues, rest) {
        ([], []) => Some(Call::All),
        (queues, []) => {
            Some(Call::Queues(queues.iter().copied().map(i64::from_be_bytes).collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_says_which_queues_or_all_and_strays_are_ignored() {
        let few = BTreeSet::from([1, 7, i64::MAX]);
        assert_eq!(read(&write(&few)), Some(Call::Queues(vec![1, 7, i64::MAX])));
        let many: BTreeSet<i64> = (0..1000).collect();
        assert_eq!(read(&write(&many)), Some(Call::All));
        for stray in [&b""[..], b"hello", b"tramline1234567"] {
            assert_eq!(read(stray), None);
        }
    }
}
