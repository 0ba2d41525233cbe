"""Writes to a topic or reads it in a group with confluent-kafka (librdkafka), and prints what became of every record: a
history for `cargo xtask chaos`, one JSON object a line, as docs/internals/chaos.md says.

    history.py BOOTSTRAP TOPIC PARTITIONS PROCESS produce|consume

It works until its standard input ends.
"""

import json
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer

# Records of a process are numbered below this, and processes above it.
NUMBER_BITS = 40
# How long a record is tried: longer than any fault lasts.
DELIVERY_MAX_MS = 60_000

# Only what comes before any append.
CERTAINLY_FAILED = {
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError._QUEUE_FULL,
}

LETTERS = "abcdefghijklmnopqrstuvwxyz" * 9


def value_of(number):
    """A value is its number as text, and letters that follow from the number."""
    begin = number % 26
    return f"{number}:{LETTERS[begin:begin + number % 199]}".encode()


def value_in(data):
    number = int(data.split(b":", 1)[0])
    if value_of(number) != data:
        raise ValueError(f"{data!r} is nobody's value")
    return number


class Program:
    def __init__(self, bootstrap, topic, partitions, process):
        self.bootstrap, self.topic = bootstrap, topic
        self.partitions, self.process = int(partitions), int(process)
        self.stopped = threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        sys.stdin.read()
        self.stopped.set()

    def tell(self, op, partition, **more):
        event = {"op": op, "process": self.process, "topic": self.topic, "partition": partition, **more}
        sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def produce(self):
        """Writes to all partitions in turn, many records on their way at once."""
        producer = Producer({
            "bootstrap.servers": self.bootstrap,
            "enable.idempotence": True,
            "delivery.timeout.ms": DELIVERY_MAX_MS,
            "request.timeout.ms": 5_000,
            "linger.ms": 5,
        })
        number = 0
        while not self.stopped.is_set():
            value = self.process << NUMBER_BITS | number
            partition = number % self.partitions

            def answered(error, message, value=value, partition=partition):
                if error is None:
                    self.tell("send", partition, value=value, offset=message.offset())
                else:
                    certain = error.code() in CERTAINLY_FAILED
                    self.tell("send", partition, value=value, outcome="failed" if certain else "unknown")

            producer.produce(self.topic, value_of(value), partition=partition, on_delivery=answered)
            number += 1
            # Bounds what is on its way while nobody answers.
            while len(producer) > 500:
                producer.poll(0.1)
            producer.poll(0)
            time.sleep(0.003)
        producer.flush()

    def consume(self):
        """Reads in a group."""
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap,
            "group.id": f"confluent-{self.topic}",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
        })

        def assigned(_, partitions):
            for given in partitions:
                self.tell("seek", given.partition)

        consumer.subscribe([self.topic], on_assign=assigned)
        while not self.stopped.is_set():
            by_partition = {}
            for message in consumer.consume(500, 0.2):
                if message.error() is None:
                    run = [message.offset(), value_in(message.value()), 1]
                    by_partition.setdefault(message.partition(), []).append(run)
            for partition, records in by_partition.items():
                self.tell("poll", partition, records=records)
        consumer.close()


def main():
    *arguments, role = sys.argv[1:]
    program = Program(*arguments)
    program.produce() if role == "produce" else program.consume()


if __name__ == "__main__":
    main()
