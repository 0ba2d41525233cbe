//! The three routes.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How things stand with the broker behind this port.
pub trait Probe: Send + Sync + 'static {
    /// Why clients are not served now; empty when they are.
    fn unready(&self) -> Vec<String>;

    /// All metrics as OpenMetrics text.
    fn metrics(&self) -> String;
}

/// Serves until `stop` completes, then lets requests under way finish.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    probe: Arc<dyn Probe>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(probe);
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn readyz(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let reasons = probe.unready();
    if reasons.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

async fn metrics(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], probe.metrics())
}
