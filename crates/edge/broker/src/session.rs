//! One connection's requests: the header is read, the version table asked, the API's handler
//! called. What all handlers share is here; what they decide is in `api/`.

use crate::advertise::advertised;
use crate::api;
use crate::context::Context;
use bytes::Bytes;
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
    /// What the client calls itself.
    pub(crate) client_id: &'a str,
    pub(crate) body: Reader<'a>,
    /// What `body` is a part of, for handlers that go on reading it later.
    pub(crate) frame: &'a Bytes,
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
        let exchange = Exchange {
            version,
            correlation_id: request.correlation_id,
            client_id: request.client_id.unwrap_or_default(),
            body: request.body,
            frame: &frame.bytes,
        };
        let call = handler(session, exchange).unwrap_or_else(|error| {
            Call::Close(format!("{} v{version}: {error}", api.name()).into())
        });
        let request = (api, version);
        let clock = || Stopwatch {
            context: Arc::clone(&session.context),
            reactor: session.reactor.clone(),
            request,
            received,
        };
        match call {
            Call::Admitting(admitted) => {
                let clock = clock();
                Call::Admitting(Box::pin(async move {
                    let call = admitted.await;
                    // Its memory counts until nothing of it is needed any more.
                    drop(frame);
                    clock.time(call)
                }))
            }
            Call::Later(_) => clock().time(call),
            Call::Wait(_) => {
                session.context.metrics.request(request, None);
                call
            }
            Call::Reply(_) | Call::NoReply | Call::Close(_) => {
                let took = session.reactor.now().since(received);
                session.context.metrics.request(request, Some(took));
                call
            }
        }
    }
}

/// Counts a request once it is answered, with the time that took. What waits for news (a long
/// poll) is counted, but its wait is not time that this broker took.
struct Stopwatch {
    context: Arc<Context>,
    reactor: Reactor,
    request: (ApiKey, i16),
    received: Now,
}

impl Stopwatch {
    fn note(&self) {
        let took = self.reactor.now().since(self.received);
        self.context.metrics.request(self.request, Some(took));
    }

    fn time(self, call: Call) -> Call {
        match call {
            Call::Later(answer) => Call::Later(Box::pin(async move {
                let outcome = answer.await;
                self.note();
                outcome
            })),
            Call::Admitting(admitted) => {
                Call::Admitting(Box::pin(async move { self.time(admitted.await) }))
            }
            Call::Wait(_) => {
                self.context.metrics.request(self.request, None);
                call
            }
            Call::Reply(_) | Call::NoReply | Call::Close(_) => {
                self.note();
                call
            }
        }
    }
}
