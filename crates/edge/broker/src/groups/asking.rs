//! From a request about one group to its answer.

use crate::groups::Asked;
use crate::session::{Answer, Session};
use jocko_group::{Answer as GroupAnswer, Command};
use jocko_net::{Call, Outcome, Peer};
use jocko_protocol::Response;
use jocko_types::ErrorCode;
use std::net::IpAddr;

/// How long a request is worth answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// What was asked goes on when the client has gone (a commit).
    Always,
    /// Only while the client is there (a join).
    WhileConnected,
}

/// Asks the coordinator of a group; `respond` makes the response of its answer, or of the reason
/// why there is none.
pub(crate) fn ask<R: Response>(
    session: &Session,
    answer: Answer,
    group_id: &str,
    command: Command,
    worth: Worth,
    respond: impl FnOnce(Result<GroupAnswer, ErrorCode>) -> R + 'static,
) -> Call {
    let context = &session.context;
    let asked = context
        .groups
        .shard(context, group_id)
        .and_then(|shard| shard.ask(context, &session.reactor, command));
    let waiting = match asked {
        Ok(Asked::Now(given)) => return answer.now(&respond(Ok(given))),
        Ok(Asked::Later(waiting)) => waiting,
        Err(error) => return answer.now(&respond(Err(error))),
    };
    let outcome = async move {
        let given = waiting.answered().await;
        Outcome::Reply(answer.encode(&respond(given)))
    };
    match worth {
        Worth::Always => Call::Later(Box::pin(outcome)),
        Worth::WhileConnected => Call::Wait(Box::pin(outcome)),
    }
}

/// A client's address as Kafka shows it to administrators: Java's words for an address.
pub(crate) fn client_host(peer: &Peer) -> String {
    match peer.address.ip() {
        IpAddr::V4(four) => format!("/{four}"),
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => format!("/{four}"),
            None => {
                let parts: Vec<String> =
                    six.segments().iter().map(|segment| format!("{segment:x}")).collect();
                format!("/{}", parts.join(":"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::client_host;
    use jocko_net::Peer;

    #[test]
    fn clients_are_shown_as_java_writes_addresses() {
        for (address, shown) in [
            ("127.0.0.1:1", "/127.0.0.1"),
            ("[::1]:1", "/0:0:0:0:0:0:0:1"),
            ("[::ffff:10.0.0.7]:1", "/10.0.0.7"),
            ("[fe80::a:b]:1", "/fe80:0:0:0:0:0:a:b"),
        ] {
            let address = address.parse().unwrap();
            let peer = Peer { address, listener: address, local: address };
            assert_eq!(client_host(&peer), shown);
        }
    }
}
