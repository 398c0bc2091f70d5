//! `/status`, `/health/live`, `/health/ready` and `/metrics` over HTTP, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use crate::metrics;
use crate::status::{Board, Status, TURN_LIMIT};

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
    pub(crate) fn start(address: SocketAddr, board: Arc<Board>) -> Result<Self, ServerError> {
        let listener = std::net::TcpListener::bind(address).map_err(|source| ServerError::Bind { address, source })?;
        listener.set_nonblocking(true).map_err(ServerError::Thread)?;
        let address = listener.local_addr().map_err(ServerError::Thread)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let ended = async move {
                    // A dropped sender says the same as a sent word.
                    drop(stopped.await);
                };
                if let Err(error) = axum::serve(listener, routes(board)).with_graceful_shutdown(ended).await {
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

fn routes(board: Arc<Board>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(board)
}

async fn status(State(board): State<Arc<Board>>) -> Json<Status> {
    Json(board.status())
}

/// Fails only when a thread hangs: a broker that is away is no reason for a restart.
async fn live(State(board): State<Arc<Board>>) -> Response {
    let silence = board.longest_silence();
    if silence < TURN_LIMIT {
        return (StatusCode::OK, "live\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("a thread has not turned for {} s\n", silence.as_secs())).into_response()
}

async fn ready(State(board): State<Arc<Board>>) -> Response {
    let status = board.status();
    if status.available {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let reasons: Vec<&str> = status.problems.iter().map(|problem| problem.message.as_str()).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("{:?}: {}\n", status.phase, reasons.join("; "))).into_response()
}

async fn scrape(State(board): State<Arc<Board>>) -> Response {
    match metrics::scrape(&board) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
