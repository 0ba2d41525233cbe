"""Runs the scenarios with kafka-python."""

import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata

import scenarios
from groups import SESSION_MS
from scenarios import Record, Unsupported


class Client:
    name = "kafka-python"
    version = kafka.__version__
    # Every second time such a join never ends and the session does, with Kafka as well.
    rejoins_for_topics = False

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        # It asks no broker that its list lacks, and keeps the list of the middle of a rolling restart
        # for as long as this; the default is five minutes.
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap, metadata_max_age_ms=200)

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, -1)], timeout_ms=10_000)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic], timeout_ms=10_000)

    def partitions(self, topic):
        if topic not in self.admin.list_topics():
            return 0
        described = self.admin.describe_topics([topic])[0]
        assert described["error_code"] == 0, described
        return sum(1 for p in described["partitions"] if p["error_code"] == 0 and p["leader_id"] >= 0)

    def end_offset(self, topic, partition):
        consumer = self.consumer()
        try:
            place = TopicPartition(topic, partition)
            return consumer.end_offsets([place])[place]
        finally:
            consumer.close()

    def consumer(self):
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            fetch_min_bytes=1,
            fetch_max_wait_ms=5000,
        )

    def producer(self, topic, acks, codec, idempotent):
        return Sender(
            topic,
            KafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks={"0": 0, "1": 1, "all": "all"}[acks],
                compression_type=None if codec == "none" else codec,
                enable_idempotence=idempotent,
                linger_ms=5,
            ),
        )

    def reader(self, topic, partition, start):
        consumer = self.consumer()
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        kind, *value = start
        if kind == "beginning":
            consumer.seek_to_beginning(place)
        elif kind == "end":
            consumer.seek(place, consumer.end_offsets([place])[place])
        elif kind == "offset":
            consumer.seek(place, value[0])
        else:
            consumer.seek(place, consumer.offsets_for_times({place: value[0]})[place].offset)
        return Reader(consumer)

    def reader_of_all(self, topic, partitions):
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        consumer.seek_to_beginning()
        return Reader(consumer)


    def member(self, group, topic, pattern=None, assignor=None, instance=None, protocol="classic"):
        if protocol != "classic":
            raise Unsupported("the client does not speak the consumer protocol (KIP-848)")
        settings = {}
        if assignor:
            settings["partition_assignment_strategy"] = [CooperativeStickyAssignor]
        if pattern:
            # New topics are looked for so often.
            settings["metadata_max_age_ms"] = 500
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=300,
            fetch_max_wait_ms=200,
            **settings,
        )
        return Member(consumer, topic, pattern)

    def list_groups(self):
        return [each["group_id"] for each in self.admin.list_groups()]

    def describe_group(self, group):
        described = self.admin.describe_groups([group])[group]
        return described["group_state"], len(described["members"])

    def delete_group(self, group):
        raise_for(self.admin.delete_groups([group]))

    def commit_for(self, group, topic, partition, offset):
        place = TopicPartition(topic, partition)
        raise_for(self.admin.alter_group_offsets(group, {place: OffsetAndMetadata(offset, "", -1)}))

    def committed(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        found = self.admin.list_group_offsets({group: [place]})[group].get(place)
        return None if found is None or found.offset < 0 else found.offset

    def delete_offset(self, group, topic, partition):
        raise_for(self.admin.delete_group_offsets(group, [TopicPartition(topic, partition)]))

    def set_config(self, topic, name, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})
        raise_for(self.admin.alter_configs([resource])["topic"])

    def get_config(self, topic, name):
        described = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        ((_, topics),) = described.items()
        return topics[topic][name]["value"]

    def add_partitions(self, topic, total):
        self.admin.create_partitions({topic: total})

    def delete_records(self, topic, partition, before):
        place = TopicPartition(topic, partition)
        return self.admin.delete_records({place: before})[place]["low_watermark"]


def raise_for(outcome):
    """Raises the first error of an answer that names one for each thing that was asked for, as a class or in words."""
    for error in outcome.values():
        words = error if isinstance(error, str) else error.__name__
        if words not in ("OK", "NoError"):
            raise RuntimeError(words)


class Member(ConsumerRebalanceListener):
    def __init__(self, consumer, topic, pattern):
        self.inner = consumer
        self.topic = topic
        self.count = 0
        self.taken = 0
        self.places = set()
        if pattern:
            consumer.subscribe(pattern=pattern, listener=self)
        else:
            consumer.subscribe([topic], listener=self)
            # One that joins as the leader before it knows the topic assigns nothing, and never looks again.
            while not consumer.partitions_for_topic(topic):
                pass

    def on_partitions_assigned(self, assigned):
        self.count += 1
        self.places |= {place.partition for place in assigned}

    def on_partitions_revoked(self, revoked):
        self.taken += len(revoked)
        self.places -= {place.partition for place in revoked}

    def poll(self, seconds):
        batches = self.inner.poll(timeout_ms=int(seconds * 1000)).values()
        return [record_of(got) for batch in batches for got in batch]

    def held(self):
        return self.places

    def revoked(self):
        return self.taken

    def rebalances(self):
        return self.count

    def commit_sync(self):
        self.inner.commit()

    def commit_async(self):
        self.inner.commit_async()

    def seek_time(self, partition, timestamp):
        place = TopicPartition(self.topic, partition)
        self.inner.seek(place, self.inner.offsets_for_times({place: timestamp})[place].offset)

    def close(self):
        self.inner.close()


def record_of(got):
    return Record(
        key=got.key,
        value=got.value,
        headers=[(key, value) for key, value in got.headers],
        partition=got.partition,
        timestamp=got.timestamp,
        offset=got.offset,
    )


class Sender:
    def __init__(self, topic, producer):
        self.topic = topic
        self.inner = producer

    def send(self, records, deadline):
        sent = [
            self.inner.send(
                self.topic,
                key=record.key,
                value=record.value,
                headers=record.headers,
                partition=record.partition,
                timestamp_ms=record.timestamp,
            )
            for record in records
        ]
        for each in sent:
            each.get(timeout=max(0.0, deadline - time.monotonic()))

    def close(self):
        self.inner.close(timeout=5)


class Reader:
    def __init__(self, consumer):
        self.inner = consumer
        self.buffered = []

    def read(self, count, deadline):
        while len(self.buffered) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"read {len(self.buffered)} of {count} records in time"
            for batch in self.inner.poll(timeout_ms=int(min(left, 1.0) * 1000)).values():
                self.buffered += batch
        records, self.buffered = self.buffered[:count], self.buffered[count:]
        return [record_of(got) for got in records]

    def close(self):
        self.inner.close()


if __name__ == "__main__":
    scenarios.main(Client)
