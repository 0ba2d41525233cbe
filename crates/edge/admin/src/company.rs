//! The routes under `/cluster`: whom a broker knows, and who leads the metadata. The one that changes
//! something is for the command line on the broker's own machine, and not for web pages that are
//! open on it.

use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// What a broker knows of its cluster beside what Kafka's protocol has words for. Answers are JSON.
pub trait Company: Send + Sync + 'static {
    /// Whom it knows: an array of objects with `broker`, `state`, `cluster`, `kafka`, `rack` and
    /// `release`.
    fn members(&self) -> String;

    /// What discovery told it last, the oldest first: an array of objects with `time` (milliseconds
    /// since the Unix epoch), `event`, `broker` and `cluster`.
    fn events(&self) -> String;

    /// Hands the lead of the metadata to `to`, or to whoever is furthest; or only says who it
    /// would be. The answer is an object with `leader`; the error is in words, for people. It must
    /// come before a silent connection is closed.
    fn transfer_leader(&self, to: Option<i32>, only_ask: bool) -> Answering;
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) async fn members(State(company): State<Arc<dyn Company>>) -> Response {
    json(company.members())
}

pub(crate) async fn events(State(company): State<Arc<dyn Company>>) -> Response {
    json(company.events())
}

pub(crate) async fn transfer_leader(
    State(company): State<Arc<dyn Company>>,
    Extension(Peer(peer)): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(why) = may_change(peer, &uri, &headers) {
        return (StatusCode::FORBIDDEN, format!("{why}\n")).into_response();
    }
    let Some((to, only_ask)) = parse(query.as_deref().unwrap_or_default()) else {
        let words = "only to=BROKER and dry-run can be asked for\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    };
    match company.transfer_leader(to, only_ask).await {
        Ok(answer) => json(answer),
        Err(words) => (StatusCode::CONFLICT, format!("{words}\n")).into_response(),
    }
}

fn json(mut body: String) -> Response {
    body.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Whether somebody on this machine asks, and no web page does in their name: a page cannot send a
/// header of its own elsewhere, and one that has a name of its own led here sends that name.
fn may_change(peer: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err("changes are only made from the broker's own machine, over loopback");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let is_named_so = host.is_some_and(is_loopback) && hosts.next().is_none();
    if !is_named_so || !uri.authority().is_none_or(|authority| is_loopback(authority.as_str())) {
        return Err("changes are only made under a loopback name: localhost, 127.0.0.1 or [::1]");
    }
    let mark = headers.get("x-jocko");
    if mark.is_none_or(|mark| mark != "cli") || headers.contains_key(header::ORIGIN) {
        return Err("changes are made by the command line, which says so: x-jocko: cli");
    }
    Ok(())
}

/// Whether a host, with or without a port, is this machine's loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// To whom, and whether it is only asked.
fn parse(query: &str) -> Option<(Option<i32>, bool)> {
    let (mut to, mut only_ask) = (None, false);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("to", id)) if to.is_none() => to = Some(id.parse().ok().filter(|id| *id >= 0)?),
            None if part == "dry-run" => only_ask = true,
            _ => return None,
        }
    }
    Some((to, only_ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_understood_or_refused() {
        for (query, expect) in [
            ("", Some((None, false))),
            ("to=3", Some((Some(3), false))),
            ("to=3&dry-run", Some((Some(3), true))),
            ("dry-run", Some((None, true))),
            ("to=", None),
            ("to=-1", None),
            ("to=1&to=2", None),
            ("dry-run=no", None),
            ("dryrun", None),
        ] {
            assert_eq!(parse(query), expect, "{query}");
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["localhost", "LocalHost:9095", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:9"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", ":9095", "localhost.example", "127.0.0.1.example:9", "10.0.0.1", "[::2]", "[::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn changes_come_from_this_machine_and_from_no_page() {
        let check = |peer: &str, uri: &str, headers: &[(&'static str, &str)], expect: bool| {
            let given: HeaderMap = headers
                .iter()
                .map(|(name, value)| {
                    (header::HeaderName::from_static(name), value.parse().expect("a value"))
                })
                .collect();
            let peer = peer.parse().expect("an address");
            let told = may_change(peer, &uri.parse().expect("a URI"), &given);
            assert_eq!(told.is_ok(), expect, "{peer} {uri} {headers:?}");
        };
        let (here, path) = ("127.0.0.1:5000", "/cluster/transfer-leader");
        let (host, mark) = (("host", "localhost:9095"), ("x-jocko", "cli"));
        check(here, path, &[host, mark], true);
        check("[::1]:5000", path, &[("host", "[::1]:9095"), mark], true);
        check("[::ffff:127.0.0.1]:5000", path, &[host, mark], true);
        check("10.0.0.1:5000", path, &[host, mark], false);
        check(here, path, &[mark], false);
        check(here, path, &[host], false);
        check(here, path, &[host, ("x-jocko", "page")], false);
        check(here, path, &[("host", "evil.example:9095"), mark], false);
        check(here, path, &[host, ("host", "evil.example"), mark], false);
        check(here, path, &[host, mark, ("origin", "http://evil.example")], false);
        check(here, "http://evil.example/cluster/transfer-leader", &[host, mark], false);
    }
}
