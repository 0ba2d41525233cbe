//! One scenario at one version against one broker: what was sent, and what came back.

use crate::broker::Broker;
use crate::connection::{Connection, Received};
use crate::normal::Symbols;
use crate::scenario::{Scenario, served};
use anyhow::{Context, Result, bail, ensure};
use jocko_protocol::json::ToJson;
use jocko_protocol::rpc::ApiVersionsRequest;
use jocko_protocol::{ApiKey, Decode, Request, Writer, frame};
use jocko_types::Uuid;
use serde_json::Value;
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::{Duration, Instant};

mod setup;

/// How long a broker may take to know what it has just agreed to.
const SETTLED_MAX: Duration = Duration::from_secs(15);
/// Kafka's numbers for resources that are topics and groups.
const TOPIC: i64 = 2;
const GROUP: i64 = 32;
/// What every request calls itself.
pub(crate) const CLIENT_ID: &str = "diff";
/// Recorded where a frame should have come.
pub(crate) const CLOSED: &str = "the connection was closed";
/// Recorded where nothing came, or something else first.
pub(crate) const SILENCE: &str = "no answer";

/// One recorded exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was asked, in the scenario's words.
    pub label: String,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// The answer in normal form, or a text where there was none.
    pub answer: Value,
}

/// An answer as it came, before it was made normal: for the requests that follow from it.
#[derive(Debug, Clone)]
pub struct Answer(pub Value);

impl Answer {
    /// The number at a JSON pointer; -1 where there is none, so that a scenario goes on and the
    /// difference shows in the recording.
    #[must_use]
    pub fn int(&self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or(-1)
    }

    /// The text at a JSON pointer; empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> String {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// A topic that a scenario works on.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Equal at both brokers.
    pub name: String,
    /// Each broker's own.
    pub id: Uuid,
}

/// A request that was sent and not yet answered.
struct Pending {
    label: String,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    decode: DecodeAnswer,
}

/// Reads a response frame of a version: its correlation id and its JSON form.
type DecodeAnswer = fn(&[u8], i16) -> Result<(i32, Value)>;

/// A connection with its unanswered requests.
#[derive(Default)]
struct Lane {
    connection: Option<Connection>,
    pending: VecDeque<Pending>,
}

/// One scenario at one version against one broker.
pub struct Run<'b> {
    broker: &'b Broker,
    api: ApiKey,
    version: i16,
    prefix: String,
    start_ms: i64,
    symbols: Symbols,
    lanes: [Lane; 4],
    lane: usize,
    /// The broker of the cluster that is asked.
    at: i32,
    setup: BTreeMap<i32, Connection>,
    correlation_id: i32,
    steps: Vec<Step>,
    hides_foreign_topics: bool,
    client_id: Option<&'static str>,
    is_smoke: bool,
    /// How often [`Run::settle`] has been called, twice over where all of a broker changes.
    settled: (i32, i32),
}

impl<'b> Run<'b> {
    /// A run that has sent nothing yet. `unique` keeps its topics apart from those of other runs,
    /// `start_ms` is its idea of the present: both must be equal for both brokers.
    #[must_use]
    pub fn new(
        broker: &'b Broker,
        scenario: &Scenario,
        version: i16,
        unique: usize,
        start_ms: i64,
    ) -> Self {
        // The time keeps them apart from an earlier sweep over the same brokers.
        let prefix = format!("t{}x{unique}", start_ms / 1_000 % 1_000_000);
        let symbols = Symbols::new(broker.clone(), format!("{prefix}-"));
        Self {
            broker,
            api: scenario.api,
            version,
            prefix,
            start_ms,
            symbols,
            lanes: Default::default(),
            lane: 0,
            at: broker.id,
            setup: BTreeMap::new(),
            correlation_id: 0,
            steps: Vec::new(),
            hides_foreign_topics: false,
            client_id: Some(CLIENT_ID),
            is_smoke: false,
            settled: (0, if scenario.is_alone { 2 } else { 1 }),
        }
    }

    /// Makes this a run of a smoke test: long series ask for a part of what they could.
    #[must_use]
    pub const fn smoke(mut self, is_smoke: bool) -> Self {
        self.is_smoke = is_smoke;
        self
    }

    /// Whether a part of a long series is enough.
    #[must_use]
    pub const fn is_smoke(&self) -> bool {
        self.is_smoke
    }

    /// The API of the scenario.
    #[must_use]
    pub const fn api(&self) -> ApiKey {
        self.api
    }

    /// Leaves other runs' topics out of the answers from here on: for requests about all topics.
    pub const fn hide_foreign_topics(&mut self) {
        self.hides_foreign_topics = true;
    }

    /// Says that the requests from here on come from this client; `None` is one that does not say.
    pub const fn call_itself(&mut self, client_id: Option<&'static str>) {
        self.client_id = client_id;
    }

    /// Compares of appended batches whether they were, and no longer where, from here on: for long
    /// series in which one difference would bring all the others.
    pub const fn forget_offsets(&mut self) {
        self.symbols.forget_offsets();
    }

    /// The version of the scenario's API in this run.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// The id of the broker that is asked.
    #[must_use]
    pub const fn broker_id(&self) -> i32 {
        self.broker.id
    }

    /// A time a little before this run, in milliseconds, equal at both brokers.
    #[must_use]
    pub const fn time(&self) -> i64 {
        self.start_ms
    }

    /// The name of this run's topic `base`, whether it exists or not.
    #[must_use]
    pub fn name(&self, base: &str) -> String {
        format!("{}-{base}", self.prefix)
    }

    /// Ends the run.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Sends further requests over connection 0, 1, 2 or 3.
    pub fn on_connection(&mut self, number: usize) {
        self.lane = number;
    }

    /// Sends further requests to another broker of the cluster: 1, 2 or 3.
    pub fn at(&mut self, id: i32) {
        self.at = id;
        self.lane = usize::try_from(id).unwrap_or(0) % self.lanes.len();
    }

    /// The brokers that can be asked.
    #[must_use]
    pub fn present(&self) -> Vec<i32> {
        self.broker.present()
    }

    /// Sends a request and records its answer: at the run's version if it is of the scenario's
    /// API, else at the latest.
    ///
    /// # Errors
    /// When the request cannot be said in that version.
    pub fn send<R>(&mut self, label: impl Into<String>, request: &R) -> Result<Answer>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        self.post(label, request)?;
        self.collect()
    }

    /// Sends a request again and again until its answer is as wanted, and records that one; the
    /// last one if none is in time.
    ///
    /// # Errors
    /// When the request cannot be said in that version.
    pub fn until<R>(
        &mut self,
        label: impl Into<String>,
        request: &R,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Result<Answer>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        let (label, deadline) = (label.into(), Instant::now() + SETTLED_MAX);
        loop {
            let answer = self.send(label.as_str(), request)?;
            if wanted(&answer) || Instant::now() > deadline {
                return Ok(answer);
            }
            self.steps.pop();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Sends a request and does not wait for its answer: [`Run::collect`] does.
    ///
    /// # Errors
    /// When the request cannot be said in that version.
    pub fn post<R>(&mut self, label: impl Into<String>, request: &R) -> Result<()>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        let version = self.version_of(R::API_KEY);
        let label = label.into();
        let mut w = Writer::default();
        frame::encode_request(self.correlation_id + 1, self.client_id, version, request, &mut w)
            .with_context(|| format!("{label}: not to be said in version {version}"))?;
        self.post_bytes::<R>(label, version, w.bytes())
    }

    /// Sends bytes as a request of API `R` at `version`, size and header included.
    /// The correlation id in them should be [`Run::next_correlation_id`].
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn post_bytes<R>(
        &mut self,
        label: impl Into<String>,
        version: i16,
        bytes: &[u8],
    ) -> Result<()>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        self.correlation_id += 1;
        let correlation_id = self.correlation_id;
        let address = self.broker.address_of(self.at);
        let lane = self.lane();
        let connection = match &mut lane.connection {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(address)?),
        };
        connection.send(bytes);
        lane.pending.push_back(Pending {
            label: label.into(),
            api: R::API_KEY,
            version,
            correlation_id,
            decode: decode::<R>,
        });
        Ok(())
    }

    /// The id that the next request will carry.
    #[must_use]
    pub const fn next_correlation_id(&self) -> i32 {
        self.correlation_id + 1
    }

    /// Records the answer to the oldest unanswered request of this connection.
    ///
    /// # Errors
    /// When there is none.
    pub fn collect(&mut self) -> Result<Answer> {
        let lane = self.lane();
        let pending = lane.pending.pop_front().context("nothing is unanswered")?;
        let connection = lane.connection.as_mut().context("no connection")?;
        let raw = match connection.receive() {
            Received::Frame(bytes) => read_answer(&pending, &bytes),
            Received::Closed => {
                lane.connection = None;
                Value::from(CLOSED)
            }
            Received::Nothing => {
                lane.connection = None;
                Value::from(SILENCE)
            }
        };
        self.record(pending, raw.clone());
        Ok(Answer(raw))
    }

    /// Sends a request that shall have no answer, then another that has one. Records for the first
    /// that nothing came, or what came.
    ///
    /// # Errors
    /// When the request cannot be said in that version.
    pub fn send_unanswered<R>(&mut self, label: impl Into<String>, request: &R) -> Result<()>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        self.post(label, request)?;
        let mut w = Writer::default();
        let (probe_id, version) = (self.correlation_id + 1, 0);
        let probe = ApiVersionsRequest::default();
        frame::encode_request(probe_id, Some(CLIENT_ID), version, &probe, &mut w)?;
        self.correlation_id = probe_id;
        let lane = self.lane();
        let connection = lane.connection.as_mut().context("just opened")?;
        connection.send(w.bytes());
        let received = connection.receive();
        let pending = lane.pending.pop_back().context("just posted")?;
        let raw = match received {
            Received::Frame(bytes) if bytes.starts_with(&probe_id.to_be_bytes()) => {
                Value::from(SILENCE)
            }
            Received::Frame(bytes) => {
                lane.connection = None;
                read_answer(&pending, &bytes)
            }
            Received::Closed | Received::Nothing => {
                lane.connection = None;
                Value::from(CLOSED)
            }
        };
        self.record(pending, raw);
        Ok(())
    }

    /// Asks something until the answer is as wanted, and records nothing.
    ///
    /// # Errors
    /// When it never is.
    pub fn await_answer<R>(&mut self, request: &R, wanted: impl Fn(&Answer) -> bool) -> Result<()>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        self.await_answer_at(self.broker.id, request, wanted)
    }

    /// The same of another broker of the cluster.
    ///
    /// # Errors
    /// When it never is.
    pub fn await_answer_at<R>(
        &mut self,
        id: i32,
        request: &R,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Result<()>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        let deadline = Instant::now() + SETTLED_MAX;
        loop {
            let answer = self.ask_at(id, request)?;
            if wanted(&answer) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not come about: {}", answer.0);
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Asks something at the latest version over a connection of its own, and records nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask<R>(&mut self, request: &R) -> Result<Answer>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        self.ask_at(self.broker.id, request)
    }

    /// The same of another broker of the cluster.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_at<R>(&mut self, id: i32, request: &R) -> Result<Answer>
    where
        R: Request,
        for<'r> R::Response<'r>: ToJson,
    {
        let version = served(R::API_KEY).max;
        let mut w = Writer::default();
        frame::encode_request(0, Some(CLIENT_ID), version, request, &mut w)?;
        let connection = match self.setup.entry(id) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(empty) => empty.insert(Connection::open(self.broker.address_of(id))?),
        };
        connection.send(w.bytes());
        let Received::Frame(bytes) = connection.receive() else {
            self.setup.remove(&id);
            bail!("{} does not answer {}", self.broker.name, R::API_KEY.name());
        };
        Ok(Answer(decode::<R>(&bytes, version)?.1))
    }

    /// The version at which requests of an API are sent.
    #[must_use]
    pub(crate) fn version_of(&self, api: ApiKey) -> i16 {
        if api == self.api { self.version } else { served(api).max }
    }

    fn lane(&mut self) -> &mut Lane {
        &mut self.lanes[self.lane]
    }

    fn record(&mut self, pending: Pending, mut raw: Value) {
        if self.hides_foreign_topics {
            let prefix = format!("{}-", self.prefix);
            hide_foreign(&mut raw, &prefix);
        }
        let answer = self.symbols.normal(pending.api, raw);
        let Pending { label, api, version, .. } = pending;
        let label = label.replace(&format!("{}-", self.prefix), "");
        self.steps.push(Step { label, api, version, answer });
    }
}

/// Leaves out what belongs to other runs, wherever an answer lists topics or groups.
fn hide_foreign(answer: &mut Value, prefix: &str) {
    let own = |name: &Value| name.as_str().is_none_or(|name| name.starts_with(prefix));
    let lists =
        ["/topics", "/results/0/topics", "/replicaElectionResults", "/configResources", "/groups"];
    for list in lists {
        let Some(list) = answer.pointer_mut(list).and_then(Value::as_array_mut) else { continue };
        list.retain(|one| match one["resourceType"].as_i64() {
            None => own(&one["name"]) && own(&one["topic"]) && own(&one["groupId"]),
            Some(TOPIC | GROUP) => own(&one["resourceName"]),
            Some(_) => true,
        });
    }
}

fn read_answer(pending: &Pending, bytes: &[u8]) -> Value {
    match (pending.decode)(bytes, pending.version) {
        Ok((id, _)) if id != pending.correlation_id => {
            Value::from(format!("an answer to request {id}, not {}", pending.correlation_id))
        }
        Ok((_, value)) => value,
        Err(error) => Value::from(format!("an answer that cannot be decoded: {error:#}")),
    }
}

/// A response frame as JSON. An ApiVersions answer may be of version 0, whatever was asked
/// (KIP-511).
fn decode<R>(bytes: &[u8], version: i16) -> Result<(i32, Value)>
where
    R: Request,
    for<'r> R::Response<'r>: ToJson,
{
    let decode_as = |version: i16| -> Result<(i32, Value)> {
        let (id, mut body) = frame::parse_response(bytes, R::API_KEY, version)?;
        let response = R::Response::decode(&mut body, version)?;
        let rest = body.remaining();
        ensure!(rest == 0, "{rest} bytes are left over");
        Ok((id, response.to_json(version)?))
    };
    match decode_as(version) {
        Err(_) if R::API_KEY == ApiKey::ApiVersions => decode_as(0),
        result => result,
    }
}
