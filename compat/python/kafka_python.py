"""Runs the scenarios with kafka-python."""

import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import scenarios
from scenarios import Record


class Client:
    name = "kafka-python"
    version = kafka.__version__

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)], timeout_ms=10_000)

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
        return [
            Record(
                key=got.key,
                value=got.value,
                headers=[(key, value) for key, value in got.headers],
                partition=got.partition,
                timestamp=got.timestamp,
                offset=got.offset,
            )
            for got in records
        ]

    def close(self):
        self.inner.close()


if __name__ == "__main__":
    scenarios.main(Client)
