package dev.jocko.compat;

import static dev.jocko.compat.Client.values;
import static dev.jocko.compat.Scenarios.check;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;

/** The scenarios with Kafka's Java client. Arguments: the bootstrap address, then names of scenarios. */
public final class Library {
    /** A parked fetch has to be answered within this of the append. */
    private static final long WAKE_MS_MAX = 250;

    private final Client client;

    private Library(String bootstrap) {
        client = new Client(bootstrap);
    }

    public static void main(String[] args) {
        List<String> names = new ArrayList<>(Arrays.asList(args));
        Library library = new Library(names.remove(0));
        Scenarios scenarios = new Scenarios("java");
        Client client = library.client;
        scenarios.add("create-describe-delete-topic", library::createDescribeDelete)
            .add("acks-0", topic -> client.roundTrip(topic, values(topic, 0, 20, "a0"), "acks", "0"))
            .add("acks-1", topic -> client.roundTrip(topic, values(topic, 0, 20, "a1"), "acks", "1"))
            .add("acks-all", topic -> client.roundTrip(topic, values(topic, 0, 20, "all"), "acks", "all"));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            scenarios.add("codec-" + codec, topic -> client.roundTrip(topic,
                values(topic, 0, 200, "a text that compresses well ".repeat(10)), "compression.type", codec));
        }
        scenarios.add("headers", library::headers)
            .add("null-key-value", library::nullKeyValue)
            .add("record-1mb", library::record1mb)
            .add("idempotent", topic -> client.roundTrip(topic, values(topic, 0, 1000, "once"),
                "enable.idempotence", "true", "batch.size", "1000"))
            .add("batches-1-to-10000", library::batches)
            .add("read-from-start", library::readFromStart)
            .add("read-from-end", library::readFromEnd)
            .add("read-from-offset", library::readFromOffset)
            .add("read-from-timestamp", library::readFromTimestamp)
            .add("long-poll-latency", library::longPollLatency)
            .add("many-partitions", library::manyPartitions)
            .add("delete-and-recreate", library::deleteAndRecreate)
            .add("reconnect", library::reconnect);
        Groups.add(scenarios, client);
        Administration.add(scenarios, client);
        scenarios.runAndExit(names);
    }

    private void createDescribeDelete(String topic) throws Exception {
        client.create(topic, 3);
        try {
            client.createOnly(topic, 3);
            throw new AssertionError("a topic that exists was created again");
        } catch (ExecutionException refused) {
            check(refused.getCause() instanceof TopicExistsException, "refused otherwise: %s", refused.getCause());
        }
        client.delete(topic);
        Client.until("topic is gone", () -> client.partitions(topic) == 0);
    }

    private void headers(String topic) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = values(topic, 0, 3, "with-headers");
        records.get(0).headers().add("trace", new byte[] {'1'}).add("trace", new byte[] {'2'})
            .add("empty", new byte[0]).add("null", null).add("\u00e9", new byte[] {0, -1});
        records.get(2).headers().add("last", new byte[] {'x'});
        client.roundTrip(topic, records);
    }

    private void nullKeyValue(String topic) throws Exception {
        client.roundTrip(topic, List.of(
            new ProducerRecord<>(topic, 0, null, "null key".getBytes()),
            new ProducerRecord<>(topic, 0, "null value".getBytes(), null),
            new ProducerRecord<>(topic, 0, null, null),
            new ProducerRecord<>(topic, 0, new byte[0], new byte[0])));
    }

    private void record1mb(String topic) throws Exception {
        // With its framing it stays under the million bytes that most clients allow by default.
        byte[] value = new byte[990_000];
        for (int i = 0; i < value.length; i++) {
            value[i] = (byte) (i * 31 >> 3);
        }
        client.roundTrip(topic, List.of(new ProducerRecord<>(topic, 0, "big".getBytes(), value)));
    }

    private void batches(String topic) throws Exception {
        client.create(topic, 1);
        long first = 0;
        for (int count : new int[] {1, 10, 1000, 10000}) {
            List<ProducerRecord<byte[], byte[]>> records = values(topic, 0, count, "of-" + count);
            client.produce(records, "batch.size", "900000", "linger.ms", "50");
            try (Client.Reader reader = client.reader(topic).from(first)) {
                Client.same(records, reader.read(count), first);
            }
            first += count;
        }
    }

    private void readFromStart(String topic) throws Exception {
        client.create(topic, 1);
        List<ProducerRecord<byte[], byte[]>> records = values(topic, 0, 50, "start");
        client.produce(records.subList(0, 20));
        client.produce(records.subList(20, 21));
        client.produce(records.subList(21, 50));
        try (Client.Reader reader = client.reader(topic).fromStart()) {
            Client.same(records, reader.read(50), 0);
        }
    }

    private void readFromEnd(String topic) throws Exception {
        client.create(topic, 1);
        client.produce(values(topic, 0, 5, "before"));
        try (Client.Reader reader = client.reader(topic).fromEnd()) {
            List<ProducerRecord<byte[], byte[]>> after = values(topic, 0, 2, "after");
            client.produce(after);
            Client.same(after, reader.read(2), 5);
        }
    }

    private void readFromOffset(String topic) throws Exception {
        client.create(topic, 1);
        List<ProducerRecord<byte[], byte[]>> records = values(topic, 0, 100, "offset");
        client.produce(records);
        for (int offset : new int[] {0, 1, 57, 99}) {
            try (Client.Reader reader = client.reader(topic).from(offset)) {
                Client.same(records.subList(offset, 100), reader.read(100 - offset), offset);
            }
        }
    }

    private void readFromTimestamp(String topic) throws Exception {
        client.create(topic, 1);
        long base = System.currentTimeMillis() - 60_000;
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            records.add(new ProducerRecord<>(topic, 0, base + i * 1000L, null, ("time-" + i).getBytes()));
        }
        client.produce(records);
        // Between the fourth and the fifth record: the fifth is the first at or after it.
        for (long at : new long[] {base + 3500, base + 4000}) {
            try (Client.Reader reader = client.reader(topic).fromTimestamp(at)) {
                List<ConsumerRecord<byte[], byte[]>> got = reader.read(6);
                Client.same(records.subList(4, 10), got, 4);
                check(got.get(0).timestamp() == base + 4000, "timestamp came back as %d", got.get(0).timestamp());
            }
        }
    }

    private void longPollLatency(String topic) throws Exception {
        client.create(topic, 1);
        int rounds = 3;
        List<Long> took = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = client.producer();
                Client.Reader reader = client.new Reader(topic, 1, 5000).fromStart()) {
            Client.send(producer, values(topic, 0, 1, "warm"));
            reader.read(1);
            for (int round = 0; round < rounds; round++) {
                CompletableFuture<Long> received = CompletableFuture.supplyAsync(() -> {
                    reader.read(1);
                    return System.nanoTime();
                });
                // Long enough for the fetch to be waiting at the broker, which nothing outside can see.
                Thread.sleep(500);
                long sent = System.nanoTime();
                Client.send(producer, values(topic, 0, 1, "tick"));
                took.add(TimeUnit.NANOSECONDS.toMillis(received.get() - sent));
            }
        }
        // One round may meet a busy machine; a fetch that is not woken misses all of them.
        long inTime = took.stream().filter(ms -> ms <= WAKE_MS_MAX).count();
        check(inTime >= rounds - 1, "a parked fetch was answered after %s ms", took);
    }

    private void manyPartitions(String topic) throws Exception {
        int partitions = 100;
        int each = 3;
        client.create(topic, partitions);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int p = 0; p < partitions; p++) {
            records.addAll(values(topic, p, each, "p" + p));
        }
        // Idempotent, since a leader that is not there yet has sends repeated, and plain producers may then reorder them.
        client.produce(records, "enable.idempotence", "true");
        try (Client.Reader reader = client.new Reader(topic, partitions, 200).fromStart()) {
            List<ConsumerRecord<byte[], byte[]>> got = reader.read(partitions * each);
            for (int p = 0; p < partitions; p++) {
                int wanted = p;
                Client.same(values(topic, p, each, "p" + p), got.stream().filter(r -> r.partition() == wanted).toList(), 0);
            }
        }
    }

    private void deleteAndRecreate(String topic) throws Exception {
        client.create(topic, 1);
        client.produce(values(topic, 0, 5, "old"));
        client.delete(topic);
        Client.until("topic can be created again", () -> {
            client.createOnly(topic, 1);
            return true;
        });
        Client.until("topic is back", () -> client.partitions(topic) == 1);
        List<ProducerRecord<byte[], byte[]>> fresh = values(topic, 0, 2, "new");
        client.produce(fresh);
        try (Client.Reader reader = client.reader(topic).fromStart()) {
            Client.same(fresh, reader.read(2), 0);
        }
    }

    private void reconnect(String topic) throws Exception {
        client.create(topic, 1);
        List<ProducerRecord<byte[], byte[]>> records = values(topic, 0, 20, "reconnect");
        try (KafkaProducer<byte[], byte[]> producer = client.producer();
                Client.Reader reader = client.reader(topic).fromStart()) {
            Client.send(producer, records.subList(0, 10));
            List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>(reader.read(10));
            Scenarios.awaitRestart();
            Client.send(producer, records.subList(10, 20));
            got.addAll(reader.read(10));
            Client.same(records, got, 0);
        }
    }
}
