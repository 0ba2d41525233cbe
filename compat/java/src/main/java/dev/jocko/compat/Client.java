package dev.jocko.compat;

import static dev.jocko.compat.Scenarios.check;
import static dev.jocko.compat.Scenarios.show;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What the scenarios do with Kafka's Java client. */
final class Client {
    private final String bootstrap;
    private final Admin admin;

    Client(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    String bootstrap() {
        return bootstrap;
    }

    Admin admin() {
        return admin;
    }

    /** A condition that a broker reaches on its own time; a throw means not yet. */
    interface Condition {
        boolean holds() throws Exception;
    }

    static void until(String what, Condition condition) throws InterruptedException {
        until(what, Scenarios.SECONDS_MAX - 2, condition);
    }

    static void until(String what, long seconds, Condition condition) throws InterruptedException {
        Exception last = null;
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (System.nanoTime() < deadline) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception notYet) {
                last = notYet;
            }
            Thread.sleep(50);
        }
        throw new AssertionError(what + ": did not happen in time (last: " + last + ")");
    }

    void create(String topic, int partitions) throws Exception {
        createOnly(topic, partitions);
        until("topic has its partitions", () -> partitions(topic) == partitions);
    }

    void createOnly(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()))).all().get();
    }

    void delete(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
    }

    /** Whether a group has all its members settled. */
    boolean stable(String group) throws Exception {
        var listed = admin.listGroups().all().get().stream().filter(each -> each.groupId().equals(group)).findFirst();
        return listed.isPresent() && listed.get().groupState().equals(Optional.of(GroupState.STABLE));
    }

    /** How many partitions have a leader; 0 where there is no such topic. */
    int partitions(String topic) throws Exception {
        try {
            TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            return (int) described.partitions().stream().filter(p -> p.leader() != null && !p.leader().isEmpty()).count();
        } catch (ExecutionException refused) {
            if (refused.getCause() instanceof UnknownTopicOrPartitionException) {
                return 0;
            }
            throw refused;
        }
    }

    KafkaProducer<byte[], byte[]> producer(String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.idempotence", "false");
        properties.put("max.block.ms", "10000");
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
        }
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void send(KafkaProducer<byte[], byte[]> producer, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> record : records) {
            sent.add(producer.send(record));
        }
        producer.flush();
        for (Future<RecordMetadata> each : sent) {
            each.get();
        }
    }

    void produce(List<ProducerRecord<byte[], byte[]>> records, String... settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            send(producer, records);
        }
    }

    /** Reads all partitions of a topic from where it stands. */
    final class Reader implements AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<TopicPartition> places = new ArrayList<>();
        private final Deque<ConsumerRecord<byte[], byte[]>> buffered = new ArrayDeque<>();

        Reader(String topic, int partitions, int waitMs) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("enable.auto.commit", "false");
            properties.put("auto.offset.reset", "none");
            properties.put("fetch.min.bytes", "1");
            properties.put("fetch.max.wait.ms", Integer.toString(waitMs));
            consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            for (int p = 0; p < partitions; p++) {
                places.add(new TopicPartition(topic, p));
            }
            consumer.assign(places);
        }

        Reader fromStart() {
            consumer.seekToBeginning(places);
            return settled();
        }

        Reader fromEnd() {
            consumer.seekToEnd(places);
            return settled();
        }

        Reader from(long offset) {
            places.forEach(place -> consumer.seek(place, offset));
            return this;
        }

        Reader fromTimestamp(long timestamp) {
            var found = consumer.offsetsForTimes(Map.of(places.get(0), timestamp));
            return from(found.get(places.get(0)).offset());
        }

        /** A seek is lazy; asking for the position makes the client look it up. */
        private Reader settled() {
            places.forEach(consumer::position);
            return this;
        }

        List<ConsumerRecord<byte[], byte[]>> read(int count) {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Scenarios.SECONDS_MAX - 1);
            while (buffered.size() < count) {
                check(System.nanoTime() < deadline, "read %d of %d records in time", buffered.size(), count);
                consumer.poll(Duration.ofSeconds(1)).forEach(buffered::add);
            }
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                records.add(buffered.remove());
            }
            return records;
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    Reader reader(String topic) {
        // Closing a consumer waits for a fetch that is parked, so none is parked for long.
        return new Reader(topic, 1, 200);
    }

    /** Writes to a new topic of one partition and reads all of it back. */
    void roundTrip(String topic, List<ProducerRecord<byte[], byte[]>> records, String... settings) throws Exception {
        create(topic, 1);
        produce(records, settings);
        try (Reader reader = reader(topic).fromStart()) {
            same(records, reader.read(records.size()), 0);
            long end = reader.consumer.endOffsets(reader.places).get(reader.places.get(0));
            check(end == records.size(), "end offset is %d after %d records", end, records.size());
        }
    }

    static List<ProducerRecord<byte[], byte[]>> values(String topic, int partition, int count, String prefix) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            records.add(new ProducerRecord<>(topic, partition, null, (prefix + "-" + i).getBytes()));
        }
        return records;
    }

    /** Compares what was read with what was sent, the first record having been given offset first. */
    static void same(List<ProducerRecord<byte[], byte[]>> sent, List<ConsumerRecord<byte[], byte[]>> got, long first) {
        check(sent.size() == got.size(), "sent %d records, read %d", sent.size(), got.size());
        for (int i = 0; i < sent.size(); i++) {
            ProducerRecord<byte[], byte[]> a = sent.get(i);
            ConsumerRecord<byte[], byte[]> b = got.get(i);
            check(b.offset() == first + i, "record %d: offset %d instead of %d", i, b.offset(), first + i);
            check(Arrays.equals(a.key(), b.key()) && Arrays.equals(a.value(), b.value()),
                "record %d: sent %s=%s, read %s=%s", i, show(a.key()), show(a.value()), show(b.key()), show(b.value()));
            Header[] wanted = a.headers().toArray();
            Header[] found = b.headers().toArray();
            check(wanted.length == found.length, "record %d: sent %d headers, read %d", i, wanted.length, found.length);
            for (int h = 0; h < wanted.length; h++) {
                check(wanted[h].key().equals(found[h].key()) && Arrays.equals(wanted[h].value(), found[h].value()),
                    "record %d: header %d differs", i, h);
            }
        }
    }
}
