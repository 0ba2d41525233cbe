package dev.jocko.compat;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes to a topic or reads it in a group with Kafka's own client, and prints what became of every record: a history for
 * {@code cargo xtask chaos}, one JSON object a line, as docs/internals/chaos.md says.
 *
 * <p>Started as {@code History BOOTSTRAP TOPIC PARTITIONS PROCESS produce|consume}; works until its standard input ends.
 */
public final class History {
    /** Records of a process are numbered below this, and processes above it. */
    private static final int NUMBER_BITS = 40;

    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final String bootstrap;
    private final String topic;
    private final int partitions;
    private final long process;
    private final AtomicBoolean stopped = new AtomicBoolean();

    private History(String[] arguments) {
        bootstrap = arguments[0];
        topic = arguments[1];
        partitions = Integer.parseInt(arguments[2]);
        process = Long.parseLong(arguments[3]);
        Thread listener = new Thread(this::listen);
        listener.setDaemon(true);
        listener.start();
    }

    public static void main(String[] arguments) throws InterruptedException {
        History history = new History(arguments);
        if (arguments[4].equals("produce")) {
            history.produce();
        } else {
            history.consume();
        }
    }

    private void listen() {
        try {
            System.in.transferTo(java.io.OutputStream.nullOutputStream());
        } catch (IOException gone) {
            // As good as its end.
        }
        stopped.set(true);
    }

    private synchronized void tell(String op, int partition, String more) {
        OUT.printf(
                "{\"op\":\"%s\",\"process\":%d,\"topic\":\"%s\",\"partition\":%d%s}%n",
                op, process, topic, partition, more);
    }

    /** Writes to all partitions in turn, many records on their way at once; with the client's defaults, but for times. */
    private void produce() throws InterruptedException {
        Properties settings = new Properties();
        settings.putAll(Map.of(
                "bootstrap.servers", bootstrap,
                "acks", "all",
                "enable.idempotence", "true",
                "delivery.timeout.ms", "60000",
                "request.timeout.ms", "5000",
                "max.block.ms", "60000"));
        var serializer = new ByteArraySerializer();
        try (var producer = new KafkaProducer<>(settings, serializer, serializer)) {
            for (long number = 0; !stopped.get(); number++) {
                long value = process << NUMBER_BITS | number;
                int partition = (int) (number % partitions);
                var record = new ProducerRecord<byte[], byte[]>(topic, partition, null, valueOf(value));
                producer.send(record, (metadata, error) -> {
                    boolean certain = error instanceof RecordTooLargeException || error instanceof InvalidTopicException;
                    String outcome = error == null
                            ? ",\"offset\":" + metadata.offset()
                            : ",\"outcome\":\"" + (certain ? "failed" : "unknown") + "\"";
                    tell("send", partition, ",\"value\":" + value + outcome);
                });
                Thread.sleep(3);
            }
        }
    }

    /** Reads in a group. */
    private void consume() {
        Properties settings = new Properties();
        settings.putAll(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", "java-" + topic,
                "auto.offset.reset", "earliest",
                "session.timeout.ms", "6000",
                "heartbeat.interval.ms", "1000"));
        var deserializer = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, deserializer, deserializer)) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> taken) {}

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> given) {
                    given.forEach(partition -> tell("seek", partition.partition(), ""));
                }
            });
            while (!stopped.get()) {
                var records = consumer.poll(Duration.ofMillis(200));
                for (TopicPartition partition : records.partitions()) {
                    StringBuilder runs = new StringBuilder();
                    for (ConsumerRecord<byte[], byte[]> record : records.records(partition)) {
                        String comma = runs.isEmpty() ? "" : ",";
                        runs.append(comma).append('[').append(record.offset()).append(',').append(valueIn(record.value()));
                        runs.append(",1]");
                    }
                    tell("poll", partition.partition(), ",\"records\":[" + runs + "]");
                }
            }
        }
    }

    /** A value is its number as text, and letters that follow from the number. */
    private static byte[] valueOf(long value) {
        StringBuilder text = new StringBuilder().append(value).append(':');
        for (long at = 0; at < value % 199; at++) {
            text.append((char) ('a' + (value % 26 + at) % 26));
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static long valueIn(byte[] bytes) {
        String text = new String(bytes, StandardCharsets.UTF_8);
        long value = Long.parseLong(text.substring(0, text.indexOf(':')));
        if (!java.util.Arrays.equals(valueOf(value), bytes)) {
            throw new IllegalStateException(text + " is nobody's value");
        }
        return value;
    }
}
