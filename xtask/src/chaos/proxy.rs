//! A TCP proxy in front of one broker: cuts connections, and drops or delays the *answers* to `EndTxn` and
//! `TxnOffsetCommit`, and nothing else. The broker has then done what it was asked, and the client does not know.
//!
//! Two threads per connection, since there are few; a third one for all delayed answers.

mod frames;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What becomes of the answers that leave a client in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Treatment {
    /// They pass.
    #[default]
    Pass,
    /// They never arrive.
    Drop,
    /// They arrive later; the others overtake them.
    Delay(Duration),
}

/// A running proxy. Dropping it cuts everything and frees the port.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    treatment: Mutex<Treatment>,
    /// Both ends of each connection, by its number.
    connections: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    later: Mutex<Sender<Later>>,
    interfered: AtomicU64,
    ended: AtomicBool,
}

/// One connection of a client.
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    /// Where answers are written, whole frames at a time.
    client: Mutex<TcpStream>,
    /// Requests whose answers are doubtful, and not there yet.
    waiting: Mutex<BTreeSet<i32>>,
}

struct Later {
    due: Instant,
    connection: Arc<Connection>,
    frame: Vec<u8>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to another.
    pub(crate) fn start(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to open the proxy's port")?;
        let port = listener.local_addr().context("failed to open the proxy's port")?.port();
        let (later, delayed) = channel();
        let shared = Arc::new(Shared {
            upstream,
            treatment: Mutex::default(),
            connections: Mutex::default(),
            later: Mutex::new(later),
            interfered: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        thread::spawn(move || send_later(&delayed));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { port, shared })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes what becomes of doubtful answers from now on.
    pub(crate) fn treat(&self, treatment: Treatment) {
        *lock(&self.shared.treatment) = treatment;
    }

    /// Cuts every connection; new ones are welcome.
    pub(crate) fn cut(&self) -> usize {
        let cut = std::mem::take(&mut *lock(&self.shared.connections));
        cut.values().flatten().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        cut.len()
    }

    /// Answers that were dropped or delayed.
    pub(crate) fn interfered(&self) -> u64 {
        self.shared.interfered.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; it sees that it is over.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.cut();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0.. {
        let Ok((client, _)) = listener.accept() else { continue };
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        // A broker that is away looks to the client as it would without us: the connection ends.
        if let Ok(broker) = TcpStream::connect(("127.0.0.1", shared.upstream)) {
            drop(connect(shared, number, client, broker));
        }
    }
}

fn connect(shared: &Arc<Shared>, number: u64, client: TcpStream, broker: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    lock(&shared.connections).insert(number, [client.try_clone()?, broker.try_clone()?]);
    let connection = Arc::new(Connection {
        shared: Arc::clone(shared),
        number,
        client: Mutex::new(client.try_clone()?),
        waiting: Mutex::default(),
    });
    let (from_broker, answers) = (broker.try_clone()?, Arc::clone(&connection));
    thread::spawn(move || {
        let _ended = answers.pass_answers(from_broker);
        answers.close();
    });
    thread::spawn(move || {
        let _ended = connection.pass_requests(client, broker);
        connection.close();
    });
    Ok(())
}

impl Connection {
    fn pass_requests(&self, mut client: TcpStream, mut broker: TcpStream) -> std::io::Result<()> {
        let mut frame = Vec::new();
        while frames::read_frame(&mut client, &mut frame)? {
            if let Some(correlation) = frames::doubtful_request(&frame) {
                lock(&self.waiting).insert(correlation);
            }
            broker.write_all(&frame)?;
        }
        Ok(())
    }

    fn pass_answers(self: &Arc<Self>, mut broker: TcpStream) -> std::io::Result<()> {
        let mut frame = Vec::new();
        while frames::read_frame(&mut broker, &mut frame)? {
            let doubtful = frames::answered(&frame).is_some_and(|correlation| lock(&self.waiting).remove(&correlation));
            let treatment = if doubtful { *lock(&self.shared.treatment) } else { Treatment::Pass };
            if treatment != Treatment::Pass {
                self.shared.interfered.fetch_add(1, Ordering::Relaxed);
            }
            match treatment {
                Treatment::Pass => lock(&self.client).write_all(&frame)?,
                Treatment::Drop => {}
                Treatment::Delay(by) => {
                    let later = Later { due: Instant::now() + by, connection: Arc::clone(self), frame: frame.clone() };
                    // The thread that sends it ends with the proxy only.
                    let _ = lock(&self.shared.later).send(later);
                }
            }
        }
        Ok(())
    }

    /// One direction has ended: so does the other.
    fn close(&self) {
        if let Some(streams) = lock(&self.shared.connections).remove(&self.number) {
            streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    }
}

/// Sends each delayed answer when it is due. Delays are about equal, so the first in is the first out.
fn send_later(delayed: &Receiver<Later>) {
    for later in delayed {
        while let Some(wait) = later.due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            thread::park_timeout(wait);
        }
        // The connection may be gone by now.
        let _ = lock(&later.connection.client).write_all(&later.frame);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::frames::tests::frame;
    use super::*;

    /// A broker that answers each request with its correlation id, and a client connected to it through a proxy.
    fn pair() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = Vec::new();
                    while frames::read_frame(&mut stream, &mut request).is_ok_and(|more| more) {
                        let correlation = i32::from_be_bytes(request[8..12].try_into().unwrap());
                        stream.write_all(&frame(None, correlation, &request[12..])).unwrap();
                    }
                });
            }
        });
        let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        (proxy, client)
    }

    fn ask(client: &mut TcpStream, kind: i16, correlation: i32) {
        client.write_all(&frame(Some(kind), correlation, b"words")).unwrap();
    }

    #[track_caller]
    fn expect(client: &mut TcpStream, correlation: i32) {
        let mut answer = Vec::new();
        assert!(frames::read_frame(client, &mut answer).unwrap());
        assert_eq!(answer, frame(None, correlation, b"words"));
    }

    #[test]
    fn answers_pass_as_they_are() {
        let (proxy, mut client) = pair();
        for (kind, correlation) in [(26, 1), (0, 2), (28, 3)] {
            ask(&mut client, kind, correlation);
            expect(&mut client, correlation);
        }
        assert_eq!(proxy.interfered(), 0);
    }

    #[test]
    fn only_doubtful_answers_are_dropped() {
        let (proxy, mut client) = pair();
        proxy.treat(Treatment::Drop);
        [(26, 1), (28, 2), (0, 3)].iter().for_each(|(kind, correlation)| ask(&mut client, *kind, *correlation));
        expect(&mut client, 3);
        proxy.treat(Treatment::Pass);
        ask(&mut client, 26, 4);
        expect(&mut client, 4);
        assert_eq!(proxy.interfered(), 2);
    }

    #[test]
    fn a_delayed_answer_is_overtaken_and_arrives() {
        let (proxy, mut client) = pair();
        proxy.treat(Treatment::Delay(Duration::from_millis(50)));
        ask(&mut client, 28, 1);
        ask(&mut client, 9, 2);
        expect(&mut client, 2);
        expect(&mut client, 1);
        assert_eq!(proxy.interfered(), 1);
    }

    #[test]
    fn a_cut_connection_ends_and_a_new_one_works() {
        let (proxy, mut client) = pair();
        ask(&mut client, 0, 1);
        expect(&mut client, 1);
        assert_eq!(proxy.cut(), 1);
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)), "the connection goes on");
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        ask(&mut again, 0, 2);
        expect(&mut again, 2);
    }
}
