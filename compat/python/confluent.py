"""Runs the scenarios with confluent-kafka-python, which is librdkafka underneath."""

import time

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

import scenarios
from groups import SESSION_MS
from scenarios import Record


class Client:
    name = "confluent-kafka-python"
    rejoins_for_topics = True

    def __init__(self, bootstrap):
        self.settings = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.settings)
        self.version = f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, -1)])[topic].result(10)

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


    def member(self, group, topic, pattern=None, assignor=None, instance=None, protocol="classic"):
        settings = {
            **self.settings,
            "group.id": group,
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 200,
            "topic.metadata.refresh.interval.ms": 500,
            "reconnect.backoff.max.ms": 500,
        }
        if protocol == "classic":
            # With the consumer protocol these are the broker's.
            settings |= {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 300}
            settings["partition.assignment.strategy"] = assignor or "range,roundrobin"
        if instance:
            settings["group.instance.id"] = instance
        return Member(Consumer(settings), pattern or topic)

    def list_groups(self):
        return [each.group_id for each in self.admin.list_consumer_groups().result(10).valid]

    def describe_group(self, group):
        described = self.admin.describe_consumer_groups([group])[group].result(10)
        return described.state.name, len(described.members)

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(10)

    def commit_for(self, group, topic, partition, offset):
        offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        done = self.admin.alter_consumer_group_offsets([offsets])[group].result(10)
        if done.topic_partitions[0].error:
            raise KafkaException(done.topic_partitions[0].error)

    def committed(self, group, topic, partition):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        found = self.admin.list_consumer_group_offsets([asked])[group].result(10).topic_partitions[0]
        if found.error:
            raise KafkaException(found.error)
        return found.offset if found.offset >= 0 else None

    def delete_offset(self, group, topic, partition):
        raise scenarios.Unsupported("the client does not delete offsets of groups")

    def set_config(self, topic, name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(10)

    def get_config(self, topic, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(10)[name].value

    def add_partitions(self, topic, total):
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(10)

    def delete_records(self, topic, partition, before):
        place = TopicPartition(topic, partition, before)
        return self.admin.delete_records([place])[place].result(10).low_watermark


class Member:
    def __init__(self, consumer, topic):
        self.inner = consumer
        self.count = 0
        self.taken = 0
        self.places = set()
        consumer.subscribe([topic], on_assign=self.assigned, on_revoke=self.revoke, on_lost=self.revoke)

    def assigned(self, _, places):
        self.count += 1
        self.places |= {place.partition for place in places}

    def revoke(self, _, places):
        self.taken += len(places)
        self.places -= {place.partition for place in places}

    def poll(self, seconds):
        records = []
        message = self.inner.poll(seconds)
        while message is not None:
            if not message.error():
                records.append(record_of(message))
            elif not passing(message.error()):
                raise KafkaException(message.error())
            message = self.inner.poll(0)
        return records

    def held(self):
        return self.places

    def revoked(self):
        return self.taken

    def rebalances(self):
        return self.count

    def commit_sync(self):
        self.inner.commit(asynchronous=False)

    def commit_async(self):
        self.inner.commit(asynchronous=True)

    def seek_time(self, partition, timestamp):
        (topic,) = {place.topic for place in self.inner.assignment()}
        self.inner.seek(self.inner.offsets_for_times([TopicPartition(topic, partition, timestamp)], timeout=10)[0])

    def close(self):
        self.inner.close()


def passing(error):
    """librdkafka reports a lost connection, and a topic that a subscription waits for, and goes on by itself."""
    return error.retriable() or error.code() in (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    )


def record_of(message):
    return Record(
        key=message.key(),
        value=message.value(),
        headers=message.headers() or [],
        partition=message.partition(),
        timestamp=message.timestamp()[1],
        offset=message.offset(),
    )


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
                if passing(message.error()):
                    continue
                raise KafkaException(message.error())
            records.append(record_of(message))
        return records

    def close(self):
        self.inner.close()


if __name__ == "__main__":
    scenarios.main(Client)
