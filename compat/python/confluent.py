"""Runs the scenarios with confluent-kafka-python, which is librdkafka underneath."""

import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import scenarios
from scenarios import Record


class Client:
    name = "confluent-kafka-python"

    def __init__(self, bootstrap):
        self.settings = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.settings)
        self.version = f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(10)

    def partitions(self, topic):
        # All topics, since asking for one by name would create it where that is allowed.
        found = self.admin.list_topics(timeout=10).topics.get(topic)
        if found is None:
            return 0
        if found.error:
            raise KafkaException(found.error)
        return sum(1 for p in found.partitions.values() if p.leader >= 0 and not p.error)

    def end_offset(self, topic, partition):
        consumer = self.consumer()
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        finally:
            consumer.close()

    def consumer(self):
        return Consumer(
            {
                **self.settings,
                "group.id": "never-joined",
                "enable.auto.commit": False,
                "fetch.min.bytes": 1,
                "fetch.wait.max.ms": 5000,
            }
        )

    def producer(self, topic, acks, codec, idempotent):
        return Sender(
            topic,
            Producer(
                {
                    **self.settings,
                    "acks": acks,
                    "compression.type": codec,
                    "enable.idempotence": idempotent,
                    "linger.ms": 5,
                    "message.max.bytes": 1_048_576,
                }
            ),
        )

    def reader(self, topic, partition, start):
        consumer = self.consumer()
        place = TopicPartition(topic, partition)
        kind, *value = start
        if kind == "timestamp":
            place.offset = value[0]
            place = consumer.offsets_for_times([place], timeout=10)[0]
        elif kind == "end":
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
        else:
            place.offset = confluent_kafka.OFFSET_BEGINNING if kind == "beginning" else value[0]
        consumer.assign([place])
        return Reader(consumer)

    def reader_of_all(self, topic, partitions):
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in range(partitions)])
        return Reader(consumer)


class Sender:
    def __init__(self, topic, producer):
        self.topic = topic
        self.inner = producer

    def send(self, records, deadline):
        errors = []
        for record in records:
            extra = {} if record.timestamp is None else {"timestamp": record.timestamp}
            self.inner.produce(
                self.topic,
                key=record.key,
                value=record.value,
                headers=record.headers,
                partition=record.partition,
                on_delivery=lambda error, _: error and errors.append(error),
                **extra,
            )
        left = self.inner.flush(max(0.0, deadline - time.monotonic()))
        assert not left, f"{left} records were not delivered in time"
        if errors:
            raise KafkaException(errors[0])

    def close(self):
        pass


class Reader:
    def __init__(self, consumer):
        self.inner = consumer

    def read(self, count, deadline):
        records = []
        while len(records) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"read {len(records)} of {count} records in time"
            message = self.inner.poll(min(left, 1.0))
            if message is None:
                continue
            if message.error():
                # librdkafka reports a lost connection here and goes on by itself.
                if message.error().retriable() or message.error().code() in (
                    confluent_kafka.KafkaError._TRANSPORT,
                    confluent_kafka.KafkaError._ALL_BROKERS_DOWN,
                ):
                    continue
                raise KafkaException(message.error())
            records.append(
                Record(
                    key=message.key(),
                    value=message.value(),
                    headers=message.headers() or [],
                    partition=message.partition(),
                    timestamp=message.timestamp()[1],
                    offset=message.offset(),
                )
            )
        return records

    def close(self):
        self.inner.close()


if __name__ == "__main__":
    scenarios.main(Client)
