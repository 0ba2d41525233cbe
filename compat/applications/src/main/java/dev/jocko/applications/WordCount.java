package dev.jocko.applications;

import static dev.jocko.applications.Verdict.until;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
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
 * Counts words with Kafka Streams, at least once: a repartition topic, a store with its changelog, two threads. The
 * counts are right after a restart of the broker, and after the application lost its own state and read the changelog.
 */
public final class WordCount {
    private static final int PARTITIONS = 2;
    private static final List<String> WORDS = List.of("log", "raft", "serf", "offset", "segment", "epoch", "group");

    private final String bootstrap;
    private final String application = "word-count-" + System.nanoTime() % 1_000_000_000;
    private final String lines = application + "-lines";
    private final String counts = application + "-counts";
    private final Map<String, Long> expected = new TreeMap<>();
    private int sent;

    private WordCount(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) {
        Verdict.of("kafka-streams", "streams-word-count", new WordCount(args[0])::run);
        Runtime.getRuntime().halt(0);
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(lines, Optional.of(PARTITIONS), Optional.empty()),
                new NewTopic(counts, Optional.of(PARTITIONS), Optional.empty()))).all().get();
            KafkaStreams streams = started();
            try {
                feed(400);
                awaitCounts();
                Verdict.awaitRestart();
                feed(400);
                awaitCounts();
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
        builder.stream(lines, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /** Sends lines of three words each. */
    private void feed(int count) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < count; i++, sent++) {
                StringBuilder line = new StringBuilder();
                for (int w = 0; w < 3; w++) {
                    String word = WORDS.get((sent * 5 + w * 2 + sent / 7) % WORDS.size());
                    expected.merge(word, 1L, Long::sum);
                    line.append(w == 0 ? "" : " ").append(word);
                }
                producer.send(new ProducerRecord<>(lines, "key-" + sent, line.toString()));
            }
        }
    }

    /** Waits until the last count of each word is what was sent, and sees that none is counted twice. */
    private void awaitCounts() throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        Map<String, Long> seen = new HashMap<>();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            consumer.assign(List.of(new TopicPartition(counts, 0), new TopicPartition(counts, 1)));
            until("counts are " + expected, () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> seen.put(record.key(), record.value()));
                seen.forEach((word, count) -> {
                    if (count > expected.get(word)) {
                        throw new AssertionError(word + " is counted " + count + " times instead of " + expected.get(word));
                    }
                });
                return new TreeMap<>(seen).equals(expected);
            });
        }
    }
}
