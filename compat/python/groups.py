"""The scenarios of groups and of administration for Python clients, written once over a small adapter.

Beside what scenarios.py asks for, an adapter has: rejoins_for_topics, whether a member can be relied on to join again
for a topic that its pattern newly matches; member(group, topic, **options) with an optional pattern=,
assignor= ("cooperative-sticky"), instance= and protocol= ("consumer"), which raises Unsupported for what the client
lacks. A member has: poll(seconds) -> records, held() -> set of partitions, revoked() -> how many were taken so far,
rebalances() -> how often it was told what it holds, commit_sync(), commit_async(), seek_time(partition, ms),
close(), which leaves the group. And for administration: list_groups(), describe_group(group) -> (state, members),
delete_group(group), commit_for(group, topic, partition, offset), committed(group, topic, partition),
delete_offset(group, topic, partition), set_config(topic, name, value), get_config(topic, name),
add_partitions(topic, total), delete_records(topic, partition, before) -> the first offset left.
"""

import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from scenarios import Record, Unsupported, await_restart, same, values

# The shortest session that the broker of the scenarios allows to members of classic groups.
SESSION_MS = 3000


class Background:
    """A member that polls on a thread of its own."""

    def __init__(self, run, group, topic, **options):
        self.run = run
        self.tasks = SimpleQueue()
        self.lock = threading.Lock()
        self.got = []
        self.failure = None
        self.stopping = False
        self.inner = run.client.member(group, topic, **options)
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def poll(self):
        try:
            while not self.stopping:
                try:
                    while True:
                        task, done = self.tasks.get_nowait()
                        try:
                            done.set_result(task())
                        except BaseException as failed:
                            done.set_exception(failed)
                except Empty:
                    pass
                records = self.inner.poll(0.05)
                with self.lock:
                    self.got += records
        except BaseException as failed:
            self.failure = failed
        finally:
            self.inner.close()

    def ask(self, task):
        done = Future()
        self.tasks.put((task, done))
        return done.result(max(0.0, self.run.deadline - time.monotonic()))

    def held(self):
        if self.failure:
            raise self.failure
        return set(self.inner.held())

    def received(self):
        if self.failure:
            raise self.failure
        with self.lock:
            return list(self.got)

    def forget(self):
        with self.lock:
            self.got = []

    def await_held(self, count):
        self.run.until(f"member holds {count} partitions", lambda: len(self.held()) == count)

    def await_values(self, count):
        self.run.until(f"member receives {count} records", lambda: len(self.received()) >= count)
        got = [record.value.decode() for record in self.received()]
        assert len(got) == count, f"received {len(got)} records instead of {count}"
        return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stopping = True
        self.thread.join(10)


def member(run, **options):
    return Background(run, group(run), run.topic, **options)


def group(run):
    return f"{run.topic}-group"


def fill(run, partitions, prefix):
    """Ten records to each of so many partitions."""
    run.produce([record for p in range(partitions) for record in values(10, f"{prefix}{p}", p)])


def receives(one, prefix):
    """The member receives the ten records of each partition it holds, once, and nothing else."""
    held = one.held()
    got = one.await_values(10 * len(held))
    wanted = sorted(f"{prefix}{p}-{i}" for p in held for i in range(10))
    assert sorted(got) == wanted, f"holds {held} and received {got}"
    one.forget()


def shared(run, one, other):
    run.until(
        "two members hold two of four partitions each",
        lambda: len(one.held()) == 2 and len(other.held()) == 2 and len(one.held() | other.held()) == 4,
    )


def read(run, **options):
    run.create(2)
    fill(run, 2, "read")
    with member(run, **options) as one:
        one.await_held(2)
        receives(one, "read")


def share(run, **options):
    run.create(4)
    with member(run, **options) as one, member(run, **options) as other:
        shared(run, one, other)
        fill(run, 4, "shared")
        receives(one, "shared")
        receives(other, "shared")


def leave(run, **options):
    run.create(4)
    with member(run, **options) as stays:
        with member(run, **options) as leaves:
            shared(run, stays, leaves)
        stays.await_held(4)
        fill(run, 4, "over")
        receives(stays, "over")


def killed(run, **options):
    run.create(4)
    with member(run, **options) as stays:
        stays.await_held(4)
        words = [f"{name}={value}" for name, value in options.items()]
        program = [sys.executable, sys.argv[0], sys.argv[1], "--member", group(run), run.topic, *words]
        other = subprocess.Popen(program, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            stays.await_held(2)
        finally:
            other.kill()
            other.wait()
        stays.await_held(4)
        fill(run, 4, "over")
        receives(stays, "over")


def be_killed(client, words):
    """A program of one member, there to be killed."""
    options = dict(word.split("=") for word in words[2:])
    inner = client.member(words[0], words[1], **options)
    while True:
        inner.poll(0.1)


def static(run, **options):
    """A static member that comes back within its session has what it had, and the other one notices nothing."""
    run.create(4)
    with member(run, instance="one", **options) as stays:
        with member(run, instance="two", **options) as goes:
            shared(run, stays, goes)
            had = goes.held()
            before = (stays.inner.revoked(), stays.inner.rebalances())
        with member(run, instance="two", **options) as back:
            back.await_held(2)
            assert back.held() == had, f"held {had} before and {back.held()} after"
            fill(run, 4, "back")
            receives(stays, "back")
            receives(back, "back")
            after = (stays.inner.revoked(), stays.inner.rebalances())
            assert after == before, "the other member was rebalanced"


def commit(how):
    def scenario(run, **options):
        run.create()
        run.produce(values(10, "first"))
        with member(run, **options) as one:
            one.await_values(10)
            one.ask(getattr(one.inner, how))
            run.until("offset is committed", lambda: run.client.committed(group(run), run.topic, 0) == 10)
        run.produce(values(10, "second"))
        with member(run, **options) as resumes:
            resumes.await_values(10)
            same(values(10, "second"), resumes.received(), 10)

    return scenario


def regex(run, **options):
    """Topics are found by a pattern: one that exists, and one that is made while the member is there."""
    topic = run.topic
    for name in (f"{topic}-early", f"other-{topic}"):
        run.topic = name
        run.create()
        run.produce(values(10, name[:5]))
    run.topic = topic
    with member(run, pattern=f"^{topic}-.*", **options) as one:
        got = one.await_values(10)
        assert not any(value.startswith("other") for value in got), f"read what does not match: {got}"
        if not run.client.rejoins_for_topics:
            return
        # An eager rebalance makes members begin anew at what was committed.
        one.ask(one.inner.commit_sync)
        run.topic = f"{topic}-late"
        run.create()
        run.produce(values(10, "late"))
        got = one.await_values(20)
        assert not any(value.startswith("other") for value in got), f"read what does not match: {got}"


def restart(run, **options):
    """Members go on over a restart of the broker, and so do the offsets they committed."""
    run.create()
    run.produce(values(10, "before"))
    with member(run, **options) as one:
        one.await_values(10)
        one.ask(one.inner.commit_sync)
        await_restart()
        run.produce(values(10, "after"))
        one.await_values(20)
        one.ask(one.inner.commit_sync)
    run.produce(values(1, "resumed"))
    with member(run, **options) as resumes:
        assert resumes.await_values(1) == ["resumed-0"], "resumed elsewhere"


def seek_time(run):
    run.create()
    base = int(time.time() * 1000) - 60_000
    records = values(10, "time")
    for i, record in enumerate(records):
        record.timestamp = base + i * 1000
    run.produce(records)
    with member(run) as one:
        one.await_values(10)
        one.forget()
        one.ask(lambda: one.inner.seek_time(0, base + 3500))
        one.await_values(6)
        same(records[4:], one.received(), 4)


def cooperative(run, **options):
    """When another joins, a member gives up what the other gets and keeps the rest without a pause."""
    run.create(4)
    with member(run, **options) as first:
        first.await_held(4)
        with member(run, **options) as second:
            shared(run, first, second)
            assert first.inner.revoked() == 2, f"{first.inner.revoked()} partitions were taken instead of 2"
            fill(run, 4, "shared")
            receives(first, "shared")
            receives(second, "shared")
            first.ask(first.inner.commit_sync)
            second.ask(second.inner.commit_sync)
        first.await_held(4)
        assert first.inner.revoked() == 2, f"{first.inner.revoked()} partitions were taken instead of 2"


def refused(what, call):
    try:
        call()
    except Unsupported:
        raise
    except Exception:
        return
    raise AssertionError(what)


def admin_groups(run):
    run.create(2)
    with member(run) as one:
        one.await_held(2)
        assert group(run) in run.client.list_groups(), "the list does not name the group"
        state, members = run.client.describe_group(group(run))
        assert state.lower() == "stable" and members == 1, f"described as {state} with {members} members"
        refused("a group with a member was deleted", lambda: run.client.delete_group(group(run)))
    run.client.delete_group(group(run))
    assert group(run) not in run.client.list_groups(), "the list names a deleted group"


def admin_offsets(run):
    run.create()
    run.produce(values(10, "offsets"))
    run.client.commit_for(group(run), run.topic, 0, 4)
    assert run.client.committed(group(run), run.topic, 0) == 4, "another offset is committed"
    with member(run) as one:
        assert one.await_values(6)[0] == "offsets-4", "a member began elsewhere"


def admin_delete_offsets(run):
    run.create()
    run.client.commit_for(group(run), run.topic, 0, 0)
    run.client.delete_offset(group(run), run.topic, 0)
    left = run.client.committed(group(run), run.topic, 0)
    assert left is None, f"offset {left} is there after it was deleted"


def admin_configs(run):
    run.create()
    run.client.set_config(run.topic, "retention.ms", "123456")
    run.until("the new value is shown", lambda: run.client.get_config(run.topic, "retention.ms") == "123456")
    refused("a value that is no number was taken", lambda: run.client.set_config(run.topic, "retention.ms", "soon"))


def admin_partitions(run):
    run.create()
    run.client.add_partitions(run.topic, 3)
    run.until("topic has three partitions", lambda: run.client.partitions(run.topic) == 3)
    refused("a topic lost partitions", lambda: run.client.add_partitions(run.topic, 2))
    run.produce(values(5, "new", 2))


def admin_delete_records(run):
    run.create()
    run.produce(values(10, "kept"))
    low = run.client.delete_records(run.topic, 0, 4)
    assert low == 4, f"the first offset is {low} instead of 4"
    same(values(10, "kept")[4:], run.read(6), 4)


BOTH = {
    "read": read,
    "share": share,
    "leave": leave,
    "killed": killed,
    "static": static,
    "commit-sync": commit("commit_sync"),
    "commit-async": commit("commit_async"),
    "regex": regex,
    "restart": restart,
}

SCENARIOS = {
    **{f"group-{name}": scenario for name, scenario in BOTH.items()},
    "group-seek-time": seek_time,
    "group-cooperative": lambda run: cooperative(run, assignor="cooperative-sticky"),
    **{
        f"group-848-{name}": lambda run, scenario=scenario: scenario(run, protocol="consumer")
        for name, scenario in {**BOTH, "cooperative": cooperative}.items()
    },
    "admin-groups": admin_groups,
    "admin-offsets": admin_offsets,
    "admin-delete-offsets": admin_delete_offsets,
    "admin-configs": admin_configs,
    "admin-partitions": admin_partitions,
    "admin-delete-records": admin_delete_records,
}
