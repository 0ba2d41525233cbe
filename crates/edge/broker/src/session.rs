//! One connection's requests: the header is read, the version table asked, the API's handler
//! called. What all handlers share is here; what they decide is in `api/`.

use crate::advertise::advertised;
use crate::api;
use crate::context::Context;
use jocko_codec::Writer;
use jocko_net::{Call, Frame, Peer, Reactor, Reply, Service};
use jocko_protocol::frame::{HeaderError, RequestFrame, RequestPrefix, encode_response};
use jocko_protocol::{ApiKey, Reader, Response, versions};
use jocko_types::Now;
use std::sync::Arc;

/// Answers Kafka requests; what the network layer knows of the broker.
pub(crate) struct Front {
    pub(crate) context: Arc<Context>,
}

/// What is kept for one connection, on its reactor's thread.
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) reactor: Reactor,
    pub(crate) peer: Peer,
}

/// A request whose header has been read and whose version is served.
pub(crate) struct Exchange<'a> {
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) body: Reader<'a>,
}

/// What it takes to answer a request later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) correlation_id: i32,
    pub(crate) version: i16,
}

impl Session {
    /// The address this client is told to come back to.
    pub(crate) fn advertised(&self) -> (String, u16) {
        let advertise = &self.context.settings.settings().listen.advertise;
        advertised(advertise, &self.peer, self.context.addresses())
    }
}

impl Exchange<'_> {
    pub(crate) fn answer(&self) -> Answer {
        Answer { correlation_id: self.correlation_id, version: self.version }
    }
}

impl Answer {
    /// The whole frame of a response that carries no detached records.
    pub(crate) fn encode<R: Response>(&self, response: &R) -> Reply {
        let mut writer = Writer::new();
        encode_response(self.correlation_id, self.version, response, &mut writer)
            .expect("handlers fill only what the request's version can say");
        Reply::new(writer.into_bytes().expect("this response has no detached records"))
    }

    /// The same, to be sent at once.
    pub(crate) fn now<R: Response>(&self, response: &R) -> Call {
        Call::Reply(self.encode(response))
    }
}

impl Service for Front {
    type Connection = Session;

    fn connected(&self, peer: &Peer, reactor: &Reactor) -> Session {
        Session { context: Arc::clone(&self.context), reactor: reactor.clone(), peer: *peer }
    }

    /// Five pipelined acks=all produces share one flush; everything else waits its turn.
    fn may_overlap(&self, head: &[u8]) -> bool {
        head.starts_with(&ApiKey::Produce.code().to_be_bytes())
    }

    fn call(&self, session: &mut Session, frame: Frame) -> Call {
        let request = match RequestFrame::parse(&frame.bytes) {
            Ok(request) => request,
            Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, prefix }) => {
                return api::api_versions::refuse_version(prefix);
            }
            Err(error) => return Call::Close(error.to_string().into()),
        };
        if !versions::is_served(request.api, request.version) {
            let prefix = RequestPrefix {
                api_key: request.api.code(),
                api_version: request.version,
                correlation_id: request.correlation_id,
            };
            if request.api == ApiKey::ApiVersions {
                return api::api_versions::refuse_version(prefix);
            }
            let name = request.api.name();
            return Call::Close(format!("{name} v{} is not served", request.version).into());
        }
        let Some(handler) = api::handler(request.api) else {
            return Call::Close(format!("{} is not served", request.api.name()).into());
        };
        let (api, version) = (request.api, request.version);
        let received = frame.received;
        let exchange =
            Exchange { version, correlation_id: request.correlation_id, body: request.body };
        let call = handler(session, exchange).unwrap_or_else(|error| {
            Call::Close(format!("{} v{version}: {error}", api.name()).into())
        });
        timed(session, (api, version), received, call)
    }
}

/// Counts a request once it is answered, with the time that took. What waits for news (a long
/// poll) is counted, but its wait is not time that this broker took.
fn timed(session: &Session, request: (ApiKey, i16), received: Now, call: Call) -> Call {
    let metrics = &session.context.metrics;
    match call {
        Call::Later(answer) => {
            let (context, reactor) = (Arc::clone(&session.context), session.reactor.clone());
            Call::Later(Box::pin(async move {
                let outcome = answer.await;
                context.metrics.request(request, Some(reactor.now().since(received)));
                outcome
            }))
        }
        Call::Wait(_) => {
            metrics.request(request, None);
            call
        }
        Call::Reply(_) | Call::NoReply | Call::Close(_) => {
            metrics.request(request, Some(session.reactor.now().since(received)));
            call
        }
    }
}
