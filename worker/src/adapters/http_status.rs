//! `/status`, `/health/live`, `/health/ready`, `/metrics` and `/forget` over HTTP, on a thread of its own.
//!
//! `POST /forget` with `{"key": "user-42"}` makes the worker forget a key. It answers when that is visible:
//! ```text
//! 200  {"forgotten": true, "partitions": [3]}    where it was known
//! 200  {"forgotten": false, "partitions": []}    not known in any partition of this worker
//! 503  why it cannot be said; asking again does no harm
//! 4xx  what is wrong with the request
//! ```
//! The key is text as the source has it, also where outputs show a hash of it. The body has to be `application/json`: a page
//! in somebody's browser cannot send that to another host without asking first, which is refused here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::decode::KEY_BYTES;
use crate::forget::ForgetError;
use crate::metrics;
use crate::status::{Board, Status, TURN_LIMIT};

/// Most bytes of a request to forget: a key of the greatest length, with every byte escaped.
const MOST_BODY_BYTES: usize = 6 * KEY_BYTES + 64;
/// So many requests to forget are answered at a time; others wait.
const MOST_WISHES: usize = 4;

/// Forgets a key and waits until that is visible; the partitions in which it was known.
pub(crate) type Forget = Arc<dyn Fn(&str) -> Result<Vec<i32>, ForgetError> + Send + Sync>;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("failed to listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread or no runtime.
    #[error("failed to start the server's thread")]
    Thread(#[source] std::io::Error),
}

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, then serves until dropped.
    pub(crate) fn start(address: SocketAddr, board: Arc<Board>, forget: Forget) -> Result<Self, ServerError> {
        let listener = std::net::TcpListener::bind(address).map_err(|source| ServerError::Bind { address, source })?;
        listener.set_nonblocking(true).map_err(ServerError::Thread)?;
        let address = listener.local_addr().map_err(ServerError::Thread)?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().max_blocking_threads(MOST_WISHES).build().map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let ended = async move {
                    // A dropped sender says the same as a sent word.
                    drop(stopped.await);
                };
                if let Err(error) =
                    axum::serve(listener, routes(Served { board, forget })).with_graceful_shutdown(ended).await
                {
                    tracing::error!(%error, "the status server ended");
                }
            });
        };
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(serve).map_err(ServerError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in a handler was reported when it happened.
            drop(thread.join());
        }
    }
}

/// What the answers are made of.
#[derive(Clone)]
struct Served {
    board: Arc<Board>,
    forget: Forget,
}

fn routes(served: Served) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/forget", post(forget).layer(DefaultBodyLimit::max(MOST_BODY_BYTES)))
        .with_state(served)
}

async fn status(State(Served { board, .. }): State<Served>) -> Json<Status> {
    Json(board.status())
}

/// Fails only when a thread hangs: a broker that is away is no reason for a restart.
async fn live(State(Served { board, .. }): State<Served>) -> Response {
    let silence = board.longest_silence();
    if silence < TURN_LIMIT {
        return (StatusCode::OK, "live\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("a thread has not turned for {} s\n", silence.as_secs())).into_response()
}

async fn ready(State(Served { board, .. }): State<Served>) -> Response {
    let status = board.status();
    if status.available {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let problems = status.problems.into_iter().map(|problem| problem.message);
    let warming = status.warming_up.iter().map(|(partition, stage)| format!("partition {partition}: {}", stage.doing));
    let reasons: Vec<String> = problems.chain(warming).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("{:?}: {}\n", status.phase, reasons.join("; "))).into_response()
}

async fn scrape(State(Served { board, .. }): State<Served>) -> Response {
    match metrics::scrape(&board) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A request to forget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    key: String,
}

/// The answer to it.
#[derive(Debug, Serialize)]
struct Forgotten {
    forgotten: bool,
    partitions: Vec<i32>,
}

async fn forget(State(Served { forget, .. }): State<Served>, Json(Wanted { key }): Json<Wanted>) -> Response {
    if !(1..=KEY_BYTES).contains(&key.len()) {
        let reason = format!("key: expected 1 to {KEY_BYTES} bytes, found {}\n", key.len());
        return (StatusCode::BAD_REQUEST, reason).into_response();
    }
    // The wait is that of a commit; meanwhile this thread answers others.
    match tokio::task::spawn_blocking(move || forget(&key)).await {
        Ok(Ok(partitions)) => Json(Forgotten { forgotten: !partitions.is_empty(), partitions }).into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
