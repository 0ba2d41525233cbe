package dev.jocko.compat;

import static dev.jocko.compat.Scenarios.check;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.Queue;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a group that polls on a thread of its own until it is closed. */
final class Member implements AutoCloseable {
    /** The shortest session that the broker of the scenarios allows to members of classic groups. */
    static final String SESSION_MS = "3000";

    /** Work for the thread that owns the consumer. */
    private interface Task {
        void run(KafkaConsumer<byte[], byte[]> consumer);
    }

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Queue<Task> tasks = new ConcurrentLinkedQueue<>();
    private final Thread polling = new Thread(this::poll, "member");
    private final List<ConsumerRecord<byte[], byte[]>> received = new ArrayList<>();
    private final Set<Integer> held = new TreeSet<>();
    private int revoked;
    private int rebalances;
    private Exception failure;
    private volatile boolean stopping;

    /** Subscribes to what `subscribe` says; the settings come after the defaults, so they may change them. */
    Member(String bootstrap, String group, Subscription subscribe, String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", group);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("fetch.max.wait.ms", "200");
        properties.put("metadata.max.age.ms", "500");
        boolean classic = true;
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
            classic &= !(settings[i].equals("group.protocol") && settings[i + 1].equals("consumer"));
        }
        if (classic) {
            // With the consumer protocol these two are the broker's.
            properties.put("session.timeout.ms", SESSION_MS);
            properties.put("heartbeat.interval.ms", "300");
        }
        consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        subscribe.to(consumer, new Listener());
        polling.setDaemon(true);
        polling.start();
    }

    /** What a member subscribes to. */
    interface Subscription {
        void to(KafkaConsumer<byte[], byte[]> consumer, ConsumerRebalanceListener listener);
    }

    static Subscription topic(String name) {
        return (consumer, listener) -> consumer.subscribe(List.of(name), listener);
    }

    private final class Listener implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> places) {
            synchronized (Member.this) {
                rebalances++;
                places.forEach(place -> held.add(place.partition()));
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> places) {
            synchronized (Member.this) {
                revoked += places.size();
                places.forEach(place -> held.remove(place.partition()));
            }
        }
    }

    private void poll() {
        try {
            while (!stopping) {
                for (Task task = tasks.poll(); task != null; task = tasks.poll()) {
                    task.run(consumer);
                }
                var records = consumer.poll(Duration.ofMillis(50));
                synchronized (this) {
                    records.forEach(received::add);
                }
            }
        } catch (Exception failed) {
            synchronized (this) {
                failure = failed;
            }
        } finally {
            consumer.close();
        }
    }

    /** The partitions it holds, by number. */
    synchronized Set<Integer> held() throws Exception {
        if (failure != null) {
            throw failure;
        }
        return new TreeSet<>(held);
    }

    /** How many partitions were taken from it so far. */
    synchronized int revoked() {
        return revoked;
    }

    /** How often it was told what it holds. */
    synchronized int rebalances() {
        return rebalances;
    }

    synchronized List<ConsumerRecord<byte[], byte[]>> received() throws Exception {
        if (failure != null) {
            throw failure;
        }
        return new ArrayList<>(received);
    }

    synchronized void forget() {
        received.clear();
    }

    /** Waits until it holds this many partitions. */
    void awaitHeld(int count) throws Exception {
        Client.until("member holds " + count + " partitions", () -> held().size() == count);
    }

    /** Waits until it has received this many records, sees that no more come at once, and returns their values. */
    List<String> awaitValues(int count) throws Exception {
        Client.until("member receives " + count + " records", () -> received().size() >= count);
        check(received().size() == count, "received %d records instead of %d", received().size(), count);
        return received().stream().map(record -> new String(record.value())).collect(Collectors.toList());
    }

    /** Runs something on the consumer's thread and returns its answer. */
    <T> T ask(Function<KafkaConsumer<byte[], byte[]>, T> question) throws Exception {
        CompletableFuture<T> answer = new CompletableFuture<>();
        tasks.add(consumer -> {
            try {
                answer.complete(question.apply(consumer));
            } catch (RuntimeException refused) {
                answer.completeExceptionally(refused);
            }
        });
        return answer.get(Scenarios.SECONDS_MAX - 2, TimeUnit.SECONDS);
    }

    /** Commits what was received, and waits for the answer. */
    void commitSync() throws Exception {
        ask(consumer -> {
            consumer.commitSync();
            return true;
        });
    }

    /** Commits in the background; the member goes on polling until the answer comes. */
    void commitAsync() throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        ask(consumer -> {
            consumer.commitAsync((offsets, refused) -> {
                if (refused == null) {
                    done.complete(null);
                } else {
                    done.completeExceptionally(refused);
                }
            });
            return true;
        });
        done.get(Scenarios.SECONDS_MAX - 2, TimeUnit.SECONDS);
    }

    /** Leaves the group, as the client does at the end of a program. */
    @Override
    public void close() throws InterruptedException {
        stopping = true;
        polling.join(TimeUnit.SECONDS.toMillis(10));
    }

    /** A program of one member, there to be killed: BOOTSTRAP GROUP TOPIC and settings. */
    public static void main(String[] args) throws InterruptedException {
        Member member = new Member(args[0], args[1], topic(args[2]), Arrays.copyOfRange(args, 3, args.length));
        member.polling.join();
    }
}
