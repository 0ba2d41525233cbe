package dev.jocko.applications;

import static dev.jocko.applications.Verdict.until;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts words with Kafka Streams, at least once: a repartition topic, a store with its changelog, two threads, and a
 * copy of each line. While lines come in, the brokers are restarted, and of several one that leads is killed; last the
 * application loses its own state and reads the changelog. Every line has been copied. Counts are exact with one broker;
 * with several, from the restarts on, none is too low: at least once means that after a fault a line may be counted again.
 */
public final class WordCount {
    private static final int PARTITIONS = 2;
    private static final List<String> WORDS = List.of("log", "raft", "serf", "offset", "segment", "epoch", "group");

    private final String bootstrap;
    private final String application = "word-count-" + System.nanoTime() % 1_000_000_000;
    private final String lines = application + "-lines";
    private final String counts = application + "-counts";
    private final String copies = application + "-copies";
    private final Map<String, Long> expected = new TreeMap<>();
    private int sent;
    private boolean exact = true;
    private final boolean several;

    private WordCount(String bootstrap) {
        this.bootstrap = bootstrap;
        several = bootstrap.contains(",");
    }

    public static void main(String[] args) {
        Verdict.of("kafka-streams", "streams-word-count", new WordCount(args[0])::run);
        Runtime.getRuntime().halt(0);
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(lines, Optional.of(PARTITIONS), Optional.empty()),
                new NewTopic(counts, Optional.of(PARTITIONS), Optional.empty()),
                new NewTopic(copies, Optional.of(1), Optional.empty()))).all().get();
            KafkaStreams streams = started();
            try {
                feed(400);
                awaitCounts();
                exact = !several;
                Verdict.throughRestart(() -> feed(20));
                awaitCounts();
                if (several) {
                    Verdict.throughKill(() -> feed(20));
                    awaitCounts();
                }
                awaitCopies();
            } finally {
                streams.close(Duration.ofSeconds(20));
            }
            Set<String> names = admin.listTopics().names().get();
            for (String kind : List.of("-repartition", "-changelog")) {
                if (names.stream().noneMatch(name -> name.startsWith(application) && name.endsWith(kind))) {
                    throw new AssertionError("no topic ends with " + kind);
                }
            }
            // Another folder for its state, so that the store comes from the changelog.
            streams = started();
            try {
                feed(100);
                awaitCounts();
                awaitCopies();
            } finally {
                streams.close(Duration.ofSeconds(20));
            }
        }
    }

    private KafkaStreams started() throws Exception {
        Path state = Files.createTempDirectory("word-count");
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "200");
        settings.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, "500");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        // The client does not leave its group when it is closed, so the next one waits for the end of these sessions.
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "4000");
        settings.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "500");
        KafkaStreams streams = new KafkaStreams(topology(), settings);
        streams.start();
        until("streams are running", () -> streams.state() == KafkaStreams.State.RUNNING);
        return streams;
    }

    private Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        var source = builder.stream(lines, Consumed.with(Serdes.String(), Serdes.String()));
        source.to(copies, Produced.with(Serdes.String(), Serdes.String()));
        source.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /** Sends lines of three words each. */
    private void feed(int count) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sends = new ArrayList<>();
            for (int i = 0; i < count; i++, sent++) {
                StringBuilder line = new StringBuilder();
                for (int w = 0; w < 3; w++) {
                    String word = WORDS.get((sent * 5 + w * 2 + sent / 7) % WORDS.size());
                    expected.merge(word, 1L, Long::sum);
                    line.append(w == 0 ? "" : " ").append(word);
                }
                sends.add(producer.send(new ProducerRecord<>(lines, "key-" + sent, line.toString())));
            }
            for (Future<RecordMetadata> send : sends) {
                send.get();
            }
        }
    }

    /** Waits until the last count of each word is what was sent, or no less where faults lie behind. */
    private void awaitCounts() throws Exception {
        Map<String, Long> seen = new TreeMap<>();
        try (var consumer = reader(new LongDeserializer(), counts, PARTITIONS)) {
            until("counts are " + expected, () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> seen.put(record.key(), record.value()));
                seen.forEach((word, count) -> {
                    if (exact && count > expected.get(word)) {
                        throw new AssertionError(word + " is counted " + count + " times instead of " + expected.get(word));
                    }
                });
                return expected.entrySet().stream().allMatch(one -> seen.getOrDefault(one.getKey(), 0L) >= one.getValue());
            });
        }
        System.err.println("counted " + seen + ", sent " + expected);
    }

    /** Waits until every line that was sent has been copied, and sees that no other has. */
    private void awaitCopies() throws Exception {
        Set<String> missing = new HashSet<>();
        IntStream.range(0, sent).forEach(i -> missing.add("key-" + i));
        Set<String> all = Set.copyOf(missing);
        try (var consumer = reader(new StringDeserializer(), copies, 1)) {
            until(sent + " lines are copied", () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> {
                    if (!all.contains(record.key())) {
                        throw new AssertionError(record.key() + " was never sent");
                    }
                    missing.remove(record.key());
                });
                return missing.isEmpty();
            });
        }
    }

    private <V> KafkaConsumer<String, V> reader(Deserializer<V> values, String topic, int partitions) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), values);
        consumer.assign(IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList());
        return consumer;
    }
}
