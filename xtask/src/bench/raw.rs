//! Four Kafka requests by hand, on one connection, at versions that need no tagged fields. The
//! workspace's own client is not used here: it is made of generated code, and what generates that
//! code must compile without it.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ANSWER_MAX: Duration = Duration::from_secs(120);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);
const METADATA: (i16, i16) = (3, 1);

/// A connection to one broker.
pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self(stream))
    }

    /// Creates topics of one partition in one request, with these settings.
    pub(super) fn create_topics(
        &mut self,
        names: &[String],
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let mut request = Writer::new(CREATE_TOPICS);
        request.i32(count(names.len())?);
        for name in names {
            // One partition, one replica, no assignment.
            request.text(name)?.i32(1).i16(1).i32(0).i32(count(configs.len())?);
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

    pub(super) fn delete_topic(&mut self, name: &str) -> Result<()> {
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
    pub(super) fn topics_with_leader(&mut self) -> Result<usize> {
        let mut request = Writer::new(METADATA);
        // All topics.
        request.i32(-1);
        let answer = self.ask(request)?;
        let mut answer = Reader(&answer);
        for _ in 0..answer.i32()? {
            // A broker: id, host, port, rack.
            let _ = (answer.i32()?, answer.text()?, answer.i32()?, answer.text()?);
        }
        answer.i32()?;
        let mut led = 0;
        for _ in 0..answer.i32()? {
            let mut is_led = answer.i16()? == 0;
            let _name_and_whether_internal = (answer.text()?, answer.i8()?);
            for _ in 0..answer.i32()? {
                let (code, _, leader) = (answer.i16()?, answer.i32()?, answer.i32()?);
                is_led &= code == 0 && leader >= 0;
                for _ in 0..2 {
                    for _ in 0..answer.i32()? {
                        answer.i32()?;
                    }
                }
            }
            led += usize::from(is_led);
        }
        Ok(led)
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

    /// Empty where it is null.
    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(length).context("the answer is short")?;
        self.0 = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}
