//! The routes, and who may come in.

use crate::company::{self, Company, Peer};
use crate::connection;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// How long accepting rests when it fails, as it does when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How things stand with the broker behind this port.
pub trait Probe: Send + Sync + 'static {
    /// Why clients are not served now; empty when they are.
    fn unready(&self) -> Vec<String>;

    /// What is wrong although clients are served, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// All metrics as OpenMetrics text.
    fn metrics(&self) -> String;

    /// Topics and groups by the names that a widely used exporter for Kafka gives them, so that
    /// dashboards made for it work.
    fn kafka_exporter(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// What all clients of the port together, and each of them, may take. Clones share the places.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One for each connection that may be open. Further ones wait in the system's queue.
    pub places: Arc<Semaphore>,
    /// How long a connection may stay without progress: a request that comes to its end, or bytes
    /// of an answer that are taken. Then it is closed.
    pub silence_max: Duration,
    /// How long a stop waits for answers under way.
    pub grace: Duration,
}

impl Default for Limits {
    /// 64 connections, ten seconds of silence, and a grace of ten seconds.
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(64)),
            silence_max: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` completes. Then answers under way are finished for at most
/// [`Limits::grace`]; whatever is open after that, and every connection that has asked nothing yet,
/// is closed.
pub async fn serve(
    listener: TcpListener,
    (probe, company): (Arc<dyn Probe>, Arc<dyn Company>),
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) {
    let cluster = Router::new()
        .route("/cluster/members", get(company::members))
        .route("/cluster/events", get(company::events))
        .route("/cluster/transfer-leader", post(company::transfer_leader))
        .with_state(company);
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/metrics/kafka_exporter", get(kafka_exporter))
        .with_state(probe)
        .merge(cluster);
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &limits.places) => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let connection = connection::run(
            (stream, Peer(peer)),
            routes.clone(),
            limits.silence_max,
            stopped.clone(),
        );
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
        // What has ended meanwhile is forgotten here, so that it cannot pile up.
        while connections.try_join_next().is_some() {}
    }
    // Nobody new is told to wait.
    drop(listener);
    stopping.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Those that are left end when the set is dropped.
    let _ = tokio::time::timeout(limits.grace, all_ended).await;
}

/// The next connection, once there is a place for it; `None` if there will never be one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            // Most are of one connection that has gone already; the rest pass, or nothing helps.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn readyz(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let reasons = probe.unready();
    if reasons.is_empty() {
        let notes = probe.notes().into_iter();
        (StatusCode::OK, notes.fold("ok\n".to_owned(), |body, note| body + &note + "\n"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], probe.metrics())
}

async fn kafka_exporter(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], probe.kafka_exporter())
}
