"""The compatibility scenarios for Python clients, written once over a small adapter.

An adapter has: name, version, create_topic(topic, partitions), delete_topic(topic), partitions(topic) -> how many have
a leader, end_offset(topic, partition), producer(topic, acks=, codec=, idempotent=) with send(records) and close(), and
reader(topic, partition, start) with read(count, deadline) and close(), and reader_of_all(topic, partitions), which reads
all partitions from the beginning. A start is ("beginning",), ("end",),
("offset", n) or ("timestamp", ms), and is resolved when reader() returns.
"""

import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field

# A scenario that takes longer has failed; nothing may hang.
SCENARIO_MAX = 20.0
# A parked fetch has to be answered within this of the append.
WAKE_MAX = 0.25


class Unsupported(Exception):
    """The client has no such feature, so the scenario is skipped."""


@dataclass
class Record:
    """A record as it is sent or was read; None is Kafka's null, a timestamp is in milliseconds."""

    key: bytes | None = None
    value: bytes | None = None
    headers: list = field(default_factory=list)
    partition: int = 0
    timestamp: int | None = None
    offset: int = -1


class Run:
    """What one scenario works with."""

    def __init__(self, client, topic, seconds):
        self.client = client
        self.topic = topic
        self.deadline = time.monotonic() + seconds

    def until(self, what, condition):
        """Polls a condition that a broker reaches on its own time."""
        last = None
        while time.monotonic() < self.deadline:
            try:
                if condition():
                    return
            except Exception as refused:  # Any refusal may be the one that passes.
                last = refused
            time.sleep(0.05)
        raise AssertionError(f"{what}: did not happen in time (last: {last!r})")

    def create(self, partitions=1):
        self.client.create_topic(self.topic, partitions)
        self.until("topic has its partitions", lambda: self.client.partitions(self.topic) == partitions)

    def produce(self, records, acks="all", codec="none", idempotent=False):
        producer = self.client.producer(self.topic, acks=acks, codec=codec, idempotent=idempotent)
        try:
            producer.send(records, self.deadline)
        finally:
            producer.close()

    def read(self, count, partition=0, start=("beginning",)):
        reader = self.client.reader(self.topic, partition, start)
        try:
            return reader.read(count, self.deadline)
        finally:
            reader.close()

    def round_trip(self, records, **options):
        """Writes to a new topic of one partition and reads all of it back."""
        self.create()
        self.produce(records, **options)
        got = self.read(len(records))
        same(records, got)
        end = self.client.end_offset(self.topic, 0)
        assert end == len(records), f"end offset is {end} after {len(records)} records"
        return got


def values(count, prefix, partition=0):
    return [Record(value=f"{prefix}-{i}".encode(), partition=partition) for i in range(count)]


def same(sent, got, first=0):
    """Compares what was read with what was sent, the first record having been given offset first."""
    assert len(sent) == len(got), f"sent {len(sent)} records, read {len(got)}"
    for i, (a, b) in enumerate(zip(sent, got)):
        assert b.offset == first + i, f"record {i}: offset {b.offset} instead of {first + i}"
        for what in ("key", "value", "headers"):
            x, y = getattr(a, what), getattr(b, what)
            assert x == y, f"record {i}: sent {what} {str(x)[:60]}, read {str(y)[:60]}"


def create_describe_delete(run):
    run.create(3)
    try:
        run.client.create_topic(run.topic, 3)
    except Exception:
        pass
    else:
        raise AssertionError("a topic that exists was created again")
    run.client.delete_topic(run.topic)
    run.until("topic is gone", lambda: run.client.partitions(run.topic) == 0)


def codec(name):
    return lambda run: run.round_trip(values(200, "a text that compresses well " * 10), codec=name)


def headers(run):
    records = values(3, "with-headers")
    records[0].headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("\u00e9", b"\x00\xff")]
    records[2].headers = [("last", b"x")]
    run.round_trip(records)


def null_key_value(run):
    run.round_trip(
        [
            Record(value=b"null key"),
            Record(key=b"null value"),
            Record(key=b"", value=b"empty key"),
            Record(key=b"empty value", value=b""),
        ]
    )


def record_1mb(run):
    # With its framing it stays under the million bytes that most clients allow by default.
    run.round_trip([Record(key=b"big", value=bytes(i * 31 >> 3 & 255 for i in range(990_000)))])


def batches(run):
    run.create()
    first = 0
    for count in (1, 10, 1000, 10000):
        records = values(count, f"of-{count}")
        run.produce(records)
        same(records, run.read(count, start=("offset", first)), first)
        first += count


def read_from_start(run):
    run.create()
    records = values(50, "start")
    for part in (records[:20], records[20:21], records[21:]):
        run.produce(part)
    same(records, run.read(50))


def read_from_end(run):
    run.create()
    run.produce(values(5, "before"))
    reader = run.client.reader(run.topic, 0, ("end",))
    try:
        after = values(2, "after")
        run.produce(after)
        same(after, reader.read(2, run.deadline), 5)
    finally:
        reader.close()


def read_from_offset(run):
    run.create()
    records = values(100, "offset")
    run.produce(records)
    for offset in (0, 1, 57, 99):
        same(records[offset:], run.read(100 - offset, start=("offset", offset)), offset)


def read_from_timestamp(run):
    run.create()
    base = int(time.time() * 1000) - 60_000
    records = values(10, "time")
    for i, record in enumerate(records):
        record.timestamp = base + i * 1000
    run.produce(records)
    # Between the fourth and the fifth record: the fifth is the first at or after it.
    for at in (base + 3500, base + 4000):
        got = run.read(6, start=("timestamp", at))
        same(records[4:], got, 4)
        assert got[0].timestamp == base + 4000, f"timestamp {base + 4000} came back as {got[0].timestamp}"


def long_poll_latency(run):
    run.create()
    producer = run.client.producer(run.topic, acks="all", codec="none", idempotent=False)
    reader = run.client.reader(run.topic, 0, ("beginning",))
    try:
        producer.send(values(1, "warm"), run.deadline)
        reader.read(1, run.deadline)
        rounds, took = 3, []
        for _ in range(rounds):
            outcome = []

            def receive():
                try:
                    reader.read(1, run.deadline)
                    outcome.append((time.monotonic(), None))
                except BaseException as failed:
                    outcome.append((time.monotonic(), failed))

            receiving = threading.Thread(target=receive, daemon=True)
            receiving.start()
            # Long enough for the fetch to be waiting at the broker, which nothing outside can see.
            time.sleep(0.5)
            sent = time.monotonic()
            producer.send(values(1, "tick"), run.deadline)
            receiving.join(max(0.0, run.deadline - time.monotonic()))
            assert outcome, "the record did not arrive"
            if outcome[0][1]:
                raise outcome[0][1]
            took.append(round(outcome[0][0] - sent, 3))
        # One round may meet a busy machine; a fetch that is not woken misses all of them.
        assert sum(t <= WAKE_MAX for t in took) >= rounds - 1, f"a parked fetch was answered after {took} s"
    finally:
        reader.close()
        producer.close()


def many_partitions(run):
    partitions, each = 100, 3
    run.create(partitions)
    # Idempotent, since a leader that is not there yet has sends repeated, and plain producers may then reorder them.
    run.produce([record for p in range(partitions) for record in values(each, f"p{p}", p)], idempotent=True)
    reader = run.client.reader_of_all(run.topic, partitions)
    try:
        got = reader.read(partitions * each, run.deadline)
    finally:
        reader.close()
    for p in range(partitions):
        same(values(each, f"p{p}", p), [record for record in got if record.partition == p])


def delete_and_recreate(run):
    run.create()
    run.produce(values(5, "old"))
    run.client.delete_topic(run.topic)

    def created():
        run.client.create_topic(run.topic, 1)
        return True

    run.until("topic can be created again", created)
    run.until("topic is back", lambda: run.client.partitions(run.topic) == 1)
    fresh = values(2, "new")
    run.produce(fresh)
    same(fresh, run.read(2))


def await_restart():
    """Asks whoever runs this program to restart the broker, and waits until that is done."""
    print("READY-FOR-RESTART", flush=True)
    if not sys.stdin.readline():
        raise Unsupported("nobody is there to restart the broker")


def reconnect(run):
    run.create()
    producer = run.client.producer(run.topic, acks="all", codec="none", idempotent=False)
    reader = run.client.reader(run.topic, 0, ("beginning",))
    try:
        records = values(20, "reconnect")
        producer.send(records[:10], run.deadline)
        got = reader.read(10, run.deadline)
        await_restart()
        producer.send(records[10:], run.deadline)
        same(records, got + reader.read(10, run.deadline))
    finally:
        reader.close()
        producer.close()


SCENARIOS = {
    "create-describe-delete-topic": create_describe_delete,
    "acks-0": lambda run: run.round_trip(values(20, "a0"), acks="0"),
    "acks-1": lambda run: run.round_trip(values(20, "a1"), acks="1"),
    "acks-all": lambda run: run.round_trip(values(20, "all"), acks="all"),
    **{f"codec-{name}": codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")},
    "headers": headers,
    "null-key-value": null_key_value,
    "record-1mb": record_1mb,
    "idempotent": lambda run: run.round_trip(values(1000, "once"), idempotent=True),
    "batches-1-to-10000": batches,
    "read-from-start": read_from_start,
    "read-from-end": read_from_end,
    "read-from-offset": read_from_offset,
    "read-from-timestamp": read_from_timestamp,
    "long-poll-latency": long_poll_latency,
    "many-partitions": many_partitions,
    "delete-and-recreate": delete_and_recreate,
    "reconnect": reconnect,
}


def attempt(client, name):
    """Runs one scenario on a thread of its own, which is left behind when it hangs. Returns its verdict line."""
    # A broker's restart lies inside some.
    limit = SCENARIO_MAX * (3 if name == "reconnect" or name.endswith("-restart") else 1)
    run = Run(client, f"compat-{client.name}-{name}-{time.time_ns() % 1_000_000_000}", limit)
    verdict = [f"FAIL {name}: still running after {limit:.0f} s"]

    def target():
        try:
            SCENARIOS[name](run)
            verdict[0] = f"PASS {name}"
        except Unsupported as why:
            verdict[0] = f"SKIP {name}: {why}"
        except BaseException as failed:
            if os.environ.get("COMPAT_TRACE"):
                traceback.print_exc()
            reason = " ".join(f"{type(failed).__name__}: {failed}".split())
            verdict[0] = f"FAIL {name}: {reason[:400]}"

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(limit + 1)
    return verdict[0]


def main(new_client):
    """Runs the named scenarios, or all, and prints one line for each."""
    if len(sys.argv) < 2:
        sys.exit("usage: program BOOTSTRAP [SCENARIO...]")
    client = new_client(sys.argv[1])
    # Here and not above, since it uses what stands above.
    import groups

    if sys.argv[2:3] == ["--member"]:
        groups.be_killed(client, sys.argv[3:])
    SCENARIOS.update(groups.SCENARIOS)
    print(f"CLIENT {client.name} {client.version}", flush=True)
    failed = False
    for name in SCENARIOS:
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        verdict = attempt(client, name)
        failed = failed or verdict.startswith("FAIL")
        print(verdict, flush=True)
    # Not sys.exit: a thread that hangs, ours or the client's, must not keep the process.
    os._exit(1 if failed else 0)
