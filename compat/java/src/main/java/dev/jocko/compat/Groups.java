package dev.jocko.compat;

import static dev.jocko.compat.Client.values;
import static dev.jocko.compat.Scenarios.check;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** The scenarios of groups, with the classic protocol or with the consumer protocol (KIP-848). */
final class Groups {
    private final Client client;
    /** Settings that choose the protocol. */
    private final String[] protocol;

    private Groups(Client client, String... protocol) {
        this.client = client;
        this.protocol = protocol;
    }

    static void add(Scenarios scenarios, Client client) {
        Groups classic = new Groups(client, "group.protocol", "classic");
        Groups next = new Groups(client, "group.protocol", "consumer");
        classic.addAs("group-", scenarios)
            .add("group-restart", classic::restart)
            .add("group-seek-time", classic::seekTime)
            .add("group-cooperative", topic -> classic.cooperative(topic,
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        next.addAs("group-848-", scenarios)
            .add("group-848-restart", next::restart)
            .add("group-848-cooperative", topic -> next.cooperative(topic));
    }

    private Scenarios addAs(String prefix, Scenarios scenarios) {
        return scenarios.add(prefix + "read", this::read)
            .add(prefix + "share", this::share)
            .add(prefix + "leave", this::leave)
            .add(prefix + "killed", this::killed)
            .add(prefix + "static", this::staticMember)
            .add(prefix + "commit-sync", topic -> commit(topic, Member::commitSync))
            .add(prefix + "commit-async", topic -> commit(topic, Member::commitAsync))
            .add(prefix + "regex", this::regex);
    }

    private Member member(String topic, String... settings) {
        return new Member(client.bootstrap(), group(topic), Member.topic(topic), settings(settings));
    }

    private String[] settings(String... more) {
        return Stream.concat(Arrays.stream(protocol), Arrays.stream(more)).toArray(String[]::new);
    }

    static String group(String topic) {
        return topic + "-group";
    }

    /** Ten records to each of so many partitions. */
    private void fill(String topic, int partitions, String prefix) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int p = 0; p < partitions; p++) {
            records.addAll(values(topic, p, 10, prefix + p));
        }
        client.produce(records);
    }

    private static Set<String> expected(Set<Integer> partitions, String prefix) {
        Set<String> wanted = new TreeSet<>();
        partitions.forEach(p -> values("", p, 10, prefix + p).forEach(record -> wanted.add(new String(record.value()))));
        return wanted;
    }

    /** The member receives the ten records of each partition it holds, once, and nothing else. */
    private static void receives(Member member, String prefix) throws Exception {
        Set<Integer> held = member.held();
        List<String> got = member.awaitValues(10 * held.size());
        check(new TreeSet<>(got).equals(expected(held, prefix)), "holds %s and received %s", held, got);
        member.forget();
    }

    private void read(String topic) throws Exception {
        client.create(topic, 2);
        fill(topic, 2, "read");
        try (Member member = member(topic)) {
            member.awaitHeld(2);
            receives(member, "read");
        }
    }

    private void share(String topic) throws Exception {
        client.create(topic, 4);
        try (Member one = member(topic); Member other = member(topic)) {
            shared(one, other);
            fill(topic, 4, "shared");
            receives(one, "shared");
            receives(other, "shared");
        }
    }

    private static void shared(Member one, Member other) throws Exception {
        Client.until("two members hold two of four partitions each", () -> {
            Set<Integer> all = one.held();
            all.addAll(other.held());
            return all.size() == 4 && one.held().size() == 2 && other.held().size() == 2;
        });
    }

    private void leave(String topic) throws Exception {
        client.create(topic, 4);
        try (Member stays = member(topic)) {
            try (Member leaves = member(topic)) {
                shared(stays, leaves);
            }
            stays.awaitHeld(4);
            fill(topic, 4, "taken-over");
            receives(stays, "taken-over");
        }
    }

    private void killed(String topic) throws Exception {
        client.create(topic, 4);
        try (Member stays = member(topic)) {
            stays.awaitHeld(4);
            List<String> command = new ArrayList<>(List.of("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-cp", System.getProperty("java.class.path"), "dev.jocko.compat.Member", client.bootstrap(), group(topic), topic));
            command.addAll(List.of(settings()));
            Process other = new ProcessBuilder(command).inheritIO().redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            try {
                stays.awaitHeld(2);
            } finally {
                other.destroyForcibly().waitFor();
            }
            stays.awaitHeld(4);
            fill(topic, 4, "taken-over");
            receives(stays, "taken-over");
        }
    }

    /** A static member that comes back within its session has what it had, and the other one notices nothing. */
    private void staticMember(String topic) throws Exception {
        client.create(topic, 4);
        try (Member stays = member(topic, "group.instance.id", "one")) {
            Set<Integer> had;
            int before;
            int rebalances;
            int generation;
            try (Member goes = member(topic, "group.instance.id", "two")) {
                shared(stays, goes);
                had = goes.held();
                before = stays.revoked();
                rebalances = stays.rebalances();
                generation = generation(stays);
            }
            try (Member back = member(topic, "group.instance.id", "two")) {
                back.awaitHeld(2);
                check(back.held().equals(had), "held %s before and %s after", had, back.held());
                check(stays.revoked() == before && stays.rebalances() == rebalances, "the other member was rebalanced");
                check(generation(stays) == generation, "generation %d became %d", generation, generation(stays));
                fill(topic, 4, "back");
                receives(stays, "back");
                receives(back, "back");
            }
        }
    }

    private static int generation(Member member) throws Exception {
        return member.ask(consumer -> consumer.groupMetadata().generationId());
    }

    /** How a member commits. */
    private interface Commit {
        void by(Member member) throws Exception;
    }

    private void commit(String topic, Commit commit) throws Exception {
        client.create(topic, 1);
        client.produce(values(topic, 0, 10, "first"));
        try (Member member = member(topic)) {
            member.awaitValues(10);
            commit.by(member);
        }
        client.produce(values(topic, 0, 10, "second"));
        try (Member resumes = member(topic)) {
            Client.same(values(topic, 0, 10, "second"), resumed(resumes), 10);
            long committed = resumes.ask(consumer -> {
                TopicPartition place = new TopicPartition(topic, 0);
                return consumer.committed(Set.of(place)).get(place).offset();
            });
            check(committed == 10, "committed offset is %d instead of 10", committed);
        }
    }

    private static List<org.apache.kafka.clients.consumer.ConsumerRecord<byte[], byte[]>> resumed(Member member) throws Exception {
        member.awaitValues(10);
        return member.received();
    }

    /** Members go on over a restart of the broker, and so do the offsets they committed. */
    private void restart(String topic) throws Exception {
        client.create(topic, 1);
        client.produce(values(topic, 0, 10, "before"));
        try (Member member = member(topic)) {
            member.awaitValues(10);
            member.commitSync();
            Scenarios.awaitRestart();
            client.produce(values(topic, 0, 10, "after"));
            member.awaitValues(20);
            member.commitSync();
        }
        client.produce(values(topic, 0, 1, "resumed"));
        try (Member resumes = member(topic)) {
            check(resumes.awaitValues(1).equals(List.of("resumed-0")), "resumed elsewhere");
        }
    }

    private void seekTime(String topic) throws Exception {
        client.create(topic, 1);
        long base = System.currentTimeMillis() - 60_000;
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            records.add(new ProducerRecord<>(topic, 0, base + i * 1000L, null, ("time-" + i).getBytes()));
        }
        client.produce(records);
        try (Member member = member(topic)) {
            member.awaitValues(10);
            member.forget();
            member.ask(consumer -> {
                TopicPartition place = new TopicPartition(topic, 0);
                consumer.seek(place, consumer.offsetsForTimes(Map.of(place, base + 3500)).get(place).offset());
                return true;
            });
            member.awaitValues(6);
            Client.same(records.subList(4, 10), member.received(), 4);
        }
    }

    /** Topics are found by a pattern: one that exists, and one that is made while the member is there. */
    private void regex(String topic) throws Exception {
        client.create(topic + "-early", 1);
        client.create(topic.replace("compat", "other"), 1);
        String pattern = Pattern.quote(topic) + "-.*";
        // The consumer protocol has patterns of the broker's own kind (RE2), where names stand for themselves.
        Member.Subscription subscription = protocol[1].equals("consumer")
            ? (consumer, listener) -> consumer.subscribe(new SubscriptionPattern(topic + "-.*"), listener)
            : (consumer, listener) -> consumer.subscribe(Pattern.compile(pattern), listener);
        client.produce(values(topic + "-early", 0, 10, "early"));
        client.produce(values(topic.replace("compat", "other"), 0, 10, "other"));
        try (Member member = new Member(client.bootstrap(), group(topic), subscription, settings())) {
            member.awaitValues(10);
            // An eager rebalance makes members begin anew at what was committed.
            member.commitSync();
            client.create(topic + "-late", 1);
            client.produce(values(topic + "-late", 0, 10, "late"));
            List<String> got = member.awaitValues(20);
            check(got.stream().noneMatch(value -> value.startsWith("other")), "read what does not match: %s", got);
        }
    }

    /** When another joins, a member gives up what the other gets and keeps the rest without a pause. */
    private void cooperative(String topic, String... settings) throws Exception {
        client.create(topic, 4);
        try (Member first = member(topic, settings)) {
            first.awaitHeld(4);
            try (Member second = member(topic, settings)) {
                shared(first, second);
                check(first.revoked() == 2, "%d partitions were taken instead of 2", first.revoked());
                fill(topic, 4, "shared");
                receives(first, "shared");
                receives(second, "shared");
                first.commitSync();
                second.commitSync();
            }
            first.awaitHeld(4);
            check(first.revoked() == 2, "%d partitions were taken instead of 2", first.revoked());
        }
    }
}
