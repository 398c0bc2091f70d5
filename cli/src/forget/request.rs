//! One request to a worker: HTTP/1.0 over a plain connection, which ends with the answer.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::address::WorkerAddress;

/// A worker that runs takes a connection at once.
const CONNECT: Duration = Duration::from_secs(5);
/// A worker answers within 30 s, whatever its brokers do.
const ANSWER: Duration = Duration::from_secs(45);
/// No answer of a worker is longer.
const MOST_BYTES: u64 = 64 << 10;

/// What a worker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The key is forgotten.
    Forgotten {
        /// Where it was known.
        partitions: Vec<i32>,
    },
    /// None of its partitions knows the key.
    Unknown,
    /// It cannot say, or did not accept the request.
    Refused(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The name means nothing here.
    #[error("failed to find host `{0}`")]
    Resolve(String, #[source] io::Error),
    /// Nobody listens.
    #[error("failed to connect; is this where the worker listens?")]
    Connect(#[source] io::Error),
    /// The connection broke off, or the answer did not come.
    #[error("failed to get an answer; whether the key is forgotten is open, ask again")]
    Exchange(#[source] io::Error),
    /// Somebody else answers there.
    #[error("expected the answer of a worker, found `{0}`")]
    Foreign(String),
}

#[derive(Deserialize)]
struct Said {
    forgotten: bool,
    partitions: Vec<i32>,
}

/// Asks one worker to forget a key and waits for its answer.
pub(super) fn forget(worker: &WorkerAddress, key: &str) -> Result<Answer, RequestError> {
    let mut stream = connect(&worker.authority)?;
    let body = json!({ "key": key }).to_string();
    let (host, length) = (&worker.authority, body.len());
    let request = format!(
        "POST /forget HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = Vec::new();
    stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| stream.set_write_timeout(Some(CONNECT)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.take(MOST_BYTES).read_to_end(&mut answer))
        .map_err(RequestError::Exchange)?;
    read(&String::from_utf8_lossy(&answer))
}

/// Connects to the first address of a host that answers.
fn connect(authority: &str) -> Result<TcpStream, RequestError> {
    let unknown = |error| RequestError::Resolve(authority.to_owned(), error);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in authority.to_socket_addrs().map_err(unknown)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(RequestError::Connect(last))
}

fn read(answer: &str) -> Result<Answer, RequestError> {
    let first = answer.lines().next().unwrap_or_default();
    let foreign = || RequestError::Foreign(first.chars().take(100).collect());
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(foreign)?;
    let mut words = head.split_ascii_whitespace();
    let (Some(protocol), Some(code)) = (words.next(), words.next()) else { return Err(foreign()) };
    match code {
        _ if !protocol.starts_with("HTTP/") => Err(foreign()),
        "200" => {
            let Said { forgotten, partitions } = serde_json::from_str(body).map_err(|_| foreign())?;
            Ok(if forgotten { Answer::Forgotten { partitions } } else { Answer::Unknown })
        }
        "404" | "405" => {
            Ok(Answer::Refused("it does not know `/forget`: is it a worker, and of this version?".to_owned()))
        }
        _ if body.trim().is_empty() => Ok(Answer::Refused(first.to_owned())),
        _ => Ok(Answer::Refused(body.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(first: &str, body: &str) -> Result<Answer, String> {
        read(&format!("{first}\r\ncontent-type: x\r\n\r\n{body}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_worker_has_forgotten_the_key_or_does_not_know_it() {
        let ok = "HTTP/1.0 200 OK";
        let forgotten = said(ok, r#"{"forgotten":true,"partitions":[1,3]}"#);
        assert_eq!(forgotten, Ok(Answer::Forgotten { partitions: vec![1, 3] }));
        assert_eq!(said(ok, r#"{"forgotten":false,"partitions":[]}"#), Ok(Answer::Unknown));
    }

    #[test]
    fn a_worker_that_cannot_say_gives_its_reason() {
        let refused = |reason: &str| Ok(Answer::Refused(reason.to_owned()));
        assert_eq!(said("HTTP/1.0 503 Service Unavailable", "it stops\n"), refused("it stops"));
        assert_eq!(said("HTTP/1.0 500 Internal Server Error", ""), refused("HTTP/1.0 500 Internal Server Error"));
        assert!(
            matches!(said("HTTP/1.1 404 Not Found", "x"), Ok(Answer::Refused(reason)) if reason.contains("version"))
        );
    }

    #[test]
    fn others_are_not_taken_for_a_worker() {
        for answer in ["", "SSH-2.0-x\r\n", "HTTP/1.0 200 OK\r\n\r\n<html>", "HTTP/1.0\r\n\r\n", "x 200 OK\r\n\r\n{}"] {
            let error = read(answer).unwrap_err();
            assert!(matches!(error, RequestError::Foreign(_)), "{answer:?}: {error}");
        }
    }
}
