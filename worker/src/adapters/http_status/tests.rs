//! What `/forget` and `/health` answer, over a real connection, in front of something that forgets as the test says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Forget, ForgetError, MOST_BODY_BYTES, Server};
use crate::decode::KEY_BYTES;
use crate::status::{Board, Phase};

const JSON: &str = "content-type: application/json\r\n";

/// A server that notes which keys it was asked to forget.
fn server(answer: Result<Vec<i32>, ForgetError>) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let forget = move |key: &str| {
        noted.lock().unwrap().push(key.to_owned());
        answer.clone()
    };
    (serve(Board::new("default.p", 1), Arc::new(forget)).0, asked)
}

fn serve(board: Board, forget: Forget) -> (Server, Arc<Board>) {
    let board = Arc::new(board);
    (Server::start(([127, 0, 0, 1], 0).into(), Arc::clone(&board), forget).unwrap(), board)
}

/// Status and body of an answer to a request to forget.
fn ask(server: &Server, method: &str, headers: &str, body: &str) -> (u16, String) {
    send(server, &format!("{method} /forget HTTP/1.0\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

fn get(server: &Server, path: &str) -> (u16, String) {
    send(server, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

fn send(server: &Server, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_key_is_forgotten_by_post_and_the_answer_says_where() {
    let (known, asked) = server(Ok(vec![1, 3]));
    let body = r#"{"key": "user \"42\"\n\u00e9"}"#;
    let answer = ask(&known, "POST", JSON, body);
    assert_eq!(answer, (200, r#"{"forgotten":true,"partitions":[1,3]}"#.to_owned()));
    assert_eq!(*asked.lock().unwrap(), ["user \"42\"\né"]);
    let (unknown, _) = server(Ok(Vec::new()));
    let answer = ask(&unknown, "POST", JSON, body);
    assert_eq!(answer, (200, r#"{"forgotten":false,"partitions":[]}"#.to_owned()));
}

#[test]
fn what_cannot_be_said_is_unavailable_with_its_reason() {
    let (server, _) = server(Err(ForgetError::Lost(vec![3])));
    let (code, body) = ask(&server, "POST", JSON, r#"{"key": "u"}"#);
    assert_eq!(code, 503);
    assert!(body.contains("partition 3 is lost") && body.contains("ask again"), "{body}");
}

#[test]
fn what_is_no_request_to_forget_is_refused_and_nothing_is_forgotten() {
    let (server, asked) = server(Ok(vec![1]));
    let key = |length: usize| format!(r#"{{"key": "{}"}}"#, "x".repeat(length));
    let padded = format!(r#"{{"key": "u"{}}}"#, " ".repeat(MOST_BODY_BYTES));
    for (method, headers, body, code) in [
        ("GET", JSON, r#"{"key": "u"}"#, 405),
        ("PUT", JSON, r#"{"key": "u"}"#, 405),
        ("DELETE", JSON, r#"{"key": "u"}"#, 405),
        ("OPTIONS", JSON, "", 405),
        ("POST", "", r#"{"key": "u"}"#, 415),
        ("POST", "content-type: text/plain\r\n", r#"{"key": "u"}"#, 415),
        ("POST", JSON, "u", 400),
        ("POST", JSON, "", 400),
        ("POST", JSON, r#"{"keys": "u"}"#, 422),
        ("POST", JSON, r#"{"key": "u", "partition": 3}"#, 422),
        ("POST", JSON, r#"{"key": 42}"#, 422),
        ("POST", JSON, &key(0), 400),
        ("POST", JSON, &key(KEY_BYTES + 1), 400),
        ("POST", JSON, &padded, 413),
    ] {
        let (found, reason) = ask(&server, method, headers, body);
        assert_eq!(found, code, "{method} {headers:?} {body}: {reason}");
    }
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
    let longest = format!(r#"{{"key": "{}"}}"#, "\\u0041".repeat(KEY_BYTES));
    assert_eq!(ask(&server, "POST", JSON, &longest).0, 200, "the longest key fits, however it is written");
    assert_eq!(*asked.lock().unwrap(), ["A".repeat(KEY_BYTES)]);
}

#[test]
fn only_a_thread_that_hangs_makes_a_worker_not_live() {
    let begun = Instant::now().checked_sub(Duration::from_secs(40)).unwrap();
    let (server, board) = serve(Board::begun("default.p", 1, begun), Arc::new(|_: &str| Ok(Vec::new())));
    board.fold_turned(0);
    board.commit_turned(0);
    let (code, body) = get(&server, "/health/live");
    assert!(code == 503 && body.contains("has not turned for 40 s"), "{code} {body}");
    board.control_turned();
    // Starting, a broker away and a partition that is brought back are no reason to start it again.
    board.broker_trouble("reading failed", "no broker");
    board.assigned(&[3]);
    assert_eq!(get(&server, "/health/live"), (200, "live\n".to_owned()));
}

#[test]
fn a_worker_is_ready_once_all_it_owns_is_read_and_says_why_it_is_not() {
    let (server, board) = serve(Board::new("default.p", 1), Arc::new(|_: &str| Ok(Vec::new())));
    assert_eq!(get(&server, "/health/ready"), (503, "Starting: \n".to_owned()));
    board.enter(Phase::Running);
    assert_eq!(get(&server, "/health/ready"), (200, "ready\n".to_owned()));
    board.assigned(&[3]);
    board.broker_trouble("reading failed", "no broker");
    let (code, body) = get(&server, "/health/ready");
    assert!(code == 503 && body.contains("no broker") && body.contains("partition 3: waiting"), "{code} {body}");
}
