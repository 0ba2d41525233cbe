package dev.jocko.example;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes three records with Kafka's own client and reads them back in a group. */
public final class Example {
    private static final String TOPIC = "greetings-java";

    private Example() {}

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments.length > 0 ? arguments[0] : "localhost:9092";
        createTopic(brokers);
        write(brokers);
        read(brokers);
    }

    private static void createTopic(String brokers) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            // As many partitions and copies as the cluster thinks right.
            NewTopic topic = new NewTopic(TOPIC, Optional.empty(), Optional.empty());
            admin.createTopics(List.of(topic)).all().get();
        } catch (ExecutionException failed) {
            if (!(failed.getCause() instanceof TopicExistsException)) {
                throw failed;
            }
        }
    }

    private static void write(String brokers) throws Exception {
        // Idempotent and acks=all, as this client is by default.
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int n = 1; n <= 3; n++) {
                var record = new ProducerRecord<>(TOPIC, "key", "hello " + n + " from java");
                var written = producer.send(record).get();
                System.out.printf("wrote partition %d, offset %d%n", written.partition(), written.offset());
            }
        }
    }

    private static void read(String brokers) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", brokers,
                "group.id", "readers-java",
                // The protocol of KIP-848: the broker assigns, nobody waits for the others.
                "group.protocol", "consumer",
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false");
        Instant deadline = Instant.now().plusSeconds(30);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(TOPIC));
            int left = 3;
            while (left > 0) {
                if (Instant.now().isAfter(deadline)) {
                    throw new IllegalStateException(left + " records did not come");
                }
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println("read " + record.value());
                    left--;
                }
            }
            consumer.commitSync();
        }
    }
}
