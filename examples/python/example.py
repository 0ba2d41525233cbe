"""Writes three records with confluent-kafka and reads them back in a group."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "greetings-python"


def create_topic(brokers: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    # As many copies as the cluster thinks right.
    created = admin.create_topics([NewTopic(TOPIC, num_partitions=1)])
    try:
        created[TOPIC].result(timeout=30)
    except KafkaException as refused:
        if refused.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def write(brokers: str) -> None:
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})

    def delivered(error, message) -> None:
        if error is not None:
            raise KafkaException(error)
        print(f"wrote partition {message.partition()}, offset {message.offset()}", flush=True)

    for n in range(1, 4):
        producer.produce(TOPIC, key="key", value=f"hello {n} from python", on_delivery=delivered)
    left = producer.flush(30)
    if left:
        raise TimeoutError(f"{left} records were not acknowledged")


def read(brokers: str) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "readers-python",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TOPIC])
    deadline = time.monotonic() + 30
    try:
        left = 3
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{left} records did not come")
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            print(f"read {message.value().decode()}", flush=True)
            left -= 1
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()


def main() -> None:
    brokers = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
    create_topic(brokers)
    write(brokers)
    read(brokers)


if __name__ == "__main__":
    main()
