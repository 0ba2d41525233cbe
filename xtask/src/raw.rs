//! Four Kafka requests by hand, on one connection, at versions that need no tagged fields. The
//! workspace's own client is not used here: it is made of generated code, and what generates that
//! code must compile without it.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ANSWER_MAX: Duration = Duration::from_secs(120);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);
const METADATA: (i16, i16) = (3, 1);

/// How many partitions a topic has, and how many copies of each there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) partitions: i32,
    pub(crate) copies: i16,
}

/// What a broker says of all topics.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Where each broker takes clients.
    pub(crate) ports: BTreeMap<i32, u16>,
    pub(crate) topics: BTreeMap<String, Vec<Placed>>,
}

/// Where a partition is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) leader: Option<i32>,
    /// Whether all its replicas are in sync.
    pub(crate) is_whole: bool,
}

/// A connection to one broker.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self(stream))
    }

    /// Creates topics of one partition in one request, with these settings.
    pub(crate) fn create_topics(
        &mut self,
        names: &[String],
        configs: &[(&str, &str)],
    ) -> Result<()> {
        self.create_topics_of(names, Shape { partitions: 1, copies: 1 }, configs)
    }

    /// Creates topics of this shape in one request, with these settings.
    pub(crate) fn create_topics_of(
        &mut self,
        names: &[String],
        shape: Shape,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let mut request = Writer::new(CREATE_TOPICS);
        request.i32(count(names.len())?);
        for name in names {
            // No assignment.
            request.text(name)?.i32(shape.partitions).i16(shape.copies).i32(0);
            request.i32(count(configs.len())?);
            for (key, value) in configs {
                request.text(key)?.text(value)?;
            }
        }
        // How long it may take; not only a question.
        request.i32(60_000).i8(0);
        let answer = self.ask(request)?;
        let mut answer = Reader(&answer);
        answer.i32()?;
        for _ in 0..answer.i32()? {
            let (name, code, words) = (answer.text()?, answer.i16()?, answer.text()?);
            ensure!(code == 0, "{name} was not created: {code} {words}");
        }
        Ok(())
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let mut request = Writer::new(DELETE_TOPICS);
        request.i32(1).text(name)?.i32(60_000);
        let answer = self.ask(request)?;
        let mut answer = Reader(&answer);
        answer.i32()?;
        for _ in 0..answer.i32()? {
            let (name, code) = (answer.text()?, answer.i16()?);
            ensure!(code == 0, "{name} was not deleted: {code}");
        }
        Ok(())
    }

    /// How many topics there are whose partitions all have a leader.
    pub(crate) fn topics_with_leader(&mut self) -> Result<usize> {
        let cluster = self.cluster()?;
        let is_led = |partitions: &&Vec<Placed>| partitions.iter().all(|one| one.leader.is_some());
        Ok(cluster.topics.values().filter(is_led).count())
    }

    /// What this broker knows of all topics.
    pub(crate) fn cluster(&mut self) -> Result<Cluster> {
        let mut request = Writer::new(METADATA);
        // All topics.
        request.i32(-1);
        let answer = self.ask(request)?;
        let mut answer = Reader(&answer);
        let mut cluster = Cluster::default();
        for _ in 0..answer.i32()? {
            // A broker: id, host, port, rack.
            let (id, _, port, _) = (answer.i32()?, answer.text()?, answer.i32()?, answer.text()?);
            cluster.ports.insert(id, u16::try_from(port)?);
        }
        answer.i32()?;
        for _ in 0..answer.i32()? {
            let code = answer.i16()?;
            let (name, _is_internal) = (answer.text()?, answer.i8()?);
            let mut partitions = Vec::new();
            for _ in 0..answer.i32()? {
                let (failure, _, leader) = (answer.i16()?, answer.i32()?, answer.i32()?);
                let leader = Some(leader).filter(|id| code == 0 && failure == 0 && *id >= 0);
                let replicas = answer.numbers()?;
                let in_sync = answer.numbers()?;
                partitions.push(Placed { leader, is_whole: in_sync.len() == replicas.len() });
            }
            cluster.topics.insert(name, partitions);
        }
        Ok(cluster)
    }

    fn ask(&mut self, request: Writer) -> Result<Vec<u8>> {
        let size = count(request.0.len())?;
        self.0.write_all(&[&size.to_be_bytes(), request.0.as_slice()].concat())?;
        let mut size = [0; 4];
        self.0.read_exact(&mut size).context("no answer")?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size))?];
        self.0.read_exact(&mut answer)?;
        // One request at a time needs no correlation.
        Ok(answer.split_off(4))
    }
}

fn count(number: usize) -> Result<i32> {
    i32::try_from(number).context("too many")
}

/// A request as it is written: header first.
struct Writer(Vec<u8>);

impl Writer {
    fn new((api, version): (i16, i16)) -> Self {
        let mut request = Self(Vec::new());
        // Correlation 0 and no client id.
        request.i16(api).i16(version).i32(0).i16(-1);
        request
    }

    fn i8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn text(&mut self, value: &str) -> Result<&mut Self> {
        self.i16(i16::try_from(value.len()).context("too long")?);
        self.0.extend(value.as_bytes());
        Ok(self)
    }
}

/// An answer as it is read: what comes first is taken off.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().context("the answer is short")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.take()?))
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn numbers(&mut self) -> Result<Vec<i32>> {
        (0..self.i32()?).map(|_| self.i32()).collect()
    }

    /// Empty where it is null.
    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(length).context("the answer is short")?;
        self.0 = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}
