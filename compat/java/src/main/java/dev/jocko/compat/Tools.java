package dev.jocko.compat;

import static dev.jocko.compat.Scenarios.check;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/**
 * The scenarios with Kafka's console tools, each call a process of its own as at a prompt: TopicCommand,
 * ConsoleProducer, ConsoleConsumer of one partition, GetOffsetShell.
 */
public final class Tools {
    private final String bootstrap;

    private Tools(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) {
        List<String> names = new ArrayList<>(Arrays.asList(args));
        Tools tools = new Tools(names.remove(0));
        Scenarios scenarios = new Scenarios("java-tools");
        scenarios.add("create-describe-delete-topic", tools::createDescribeDelete);
        for (String acks : List.of("0", "1", "all")) {
            scenarios.add("acks-" + acks, topic -> tools.roundTrip(topic, lines(20, "acks"), List.of(
                "--command-property", "acks=" + acks, "--command-property", "enable.idempotence=false"), List.of()));
        }
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            scenarios.add("codec-" + codec, topic -> tools.roundTrip(topic,
                lines(200, "a text that compresses well ".repeat(10)), List.of("--compression-codec", codec), List.of()));
        }
        scenarios.add("headers", topic -> tools.roundTrip(topic, List.of("a:1,a:2,b:\tvalue"),
                List.of("--reader-property", "parse.headers=true"),
                List.of("--formatter-property", "print.headers=true")))
            .add("null-key-value", topic -> tools.roundTrip(topic, List.of("NULL\tvalue", "key\tNULL", "key\tvalue"),
                List.of("--reader-property", "parse.key=true", "--reader-property", "null.marker=NULL"),
                List.of("--formatter-property", "print.key=true", "--formatter-property", "null.literal=NULL")))
            .add("record-1mb", topic -> tools.roundTrip(topic, List.of("x".repeat(990_000)), List.of(), List.of()))
            .add("idempotent", topic -> tools.roundTrip(topic, lines(1000, "once"),
                List.of("--command-property", "enable.idempotence=true"), List.of()))
            .add("batches-1-to-10000", topic -> tools.roundTrip(topic, lines(10_000, "batch"),
                List.of("--batch-size", "900000", "--timeout", "50"), List.of()))
            .add("read-from-start", topic -> tools.roundTrip(topic, lines(50, "start"), List.of(), List.of()))
            .add("read-from-offset", tools::readFromOffset)
            .add("read-from-timestamp", tools::readFromTimestamp)
            .add("group-read", topic -> tools.inGroup(topic, "classic", "--topic", topic))
            .add("group-commit-sync", topic -> tools.resumes(topic, "classic"))
            .add("group-regex", topic -> tools.inGroup(topic, "classic", "--include", topic + ".*"))
            .add("group-848-read", topic -> tools.inGroup(topic, "consumer", "--topic", topic))
            .add("group-848-commit-sync", topic -> tools.resumes(topic, "consumer"))
            .add("group-848-regex", topic -> tools.inGroup(topic, "consumer", "--include", topic + ".*"))
            .runAndExit(names);
    }

    private void createDescribeDelete(String topic) throws Exception {
        create(topic, 3);
        check(topics("--list").lines().anyMatch(topic::equals), "the list does not name the topic");
        String described = topics("--describe", "--topic", topic);
        check(described.contains("PartitionCount: 3"), "described as %s", described);
        check(described.contains("Partition: 2\tLeader: "), "described as %s", described);
        topics("--delete", "--topic", topic);
        Client.until("topic is gone", () -> topics("--list").lines().noneMatch(topic::equals));
    }

    private void readFromOffset(String topic) throws Exception {
        create(topic, 1);
        List<String> lines = lines(100, "offset");
        produce(topic, lines, List.of());
        equal(lines.subList(57, 100), consume(topic, "57", 43, List.of()));
    }

    private void readFromTimestamp(String topic) throws Exception {
        create(topic, 1);
        produce(topic, lines(5, "early"), List.of());
        // The console gives its records the time of day, so a moment between two calls separates them.
        Thread.sleep(5);
        long between = System.currentTimeMillis();
        Thread.sleep(5);
        produce(topic, lines(5, "late"), List.of());
        String offset = offsetAt(topic, Long.toString(between));
        check(offset.equals("5"), "the first offset at that time is %s instead of 5", offset);
        equal(lines(5, "late"), consume(topic, offset, 5, List.of()));
    }

    /** The console consumer in a group, as at a prompt; with `consumer` it is told of the newer protocol. */
    private List<String> group(String topic, int count, String protocol, String... from) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("--group", Groups.group(topic), "--from-beginning",
            "--max-messages", Integer.toString(count), "--timeout-ms", "10000"));
        if (protocol.equals("consumer")) {
            arguments.addAll(List.of("--command-property", "group.protocol=consumer"));
        }
        arguments.addAll(Arrays.asList(from));
        String printed = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "", arguments);
        // Kafka's advertisement of the consumer protocol.
        return printed.lines().filter(line -> !line.contains("KIP-848")).toList();
    }

    private void inGroup(String topic, String protocol, String... from) throws Exception {
        create(topic, 1);
        produce(topic, lines(20, "group"), List.of());
        equal(lines(20, "group"), group(topic, 20, protocol, from));
    }

    private void resumes(String topic, String protocol) throws Exception {
        create(topic, 1);
        produce(topic, lines(10, "first"), List.of());
        equal(lines(10, "first"), group(topic, 10, protocol, "--topic", topic));
        produce(topic, lines(10, "second"), List.of());
        equal(lines(10, "second"), group(topic, 10, protocol, "--topic", topic));
    }

    /** Writes to a new topic of one partition and reads all of it back. */
    private void roundTrip(String topic, List<String> lines, List<String> producing, List<String> consuming) throws Exception {
        create(topic, 1);
        produce(topic, lines, producing);
        equal(lines, consume(topic, "earliest", lines.size(), consuming));
    }

    private static List<String> lines(int count, String prefix) {
        return IntStream.range(0, count).mapToObj(i -> prefix + "-" + i).toList();
    }

    private static void equal(List<String> sent, List<String> got) {
        check(sent.size() == got.size(), "sent %d lines, read %d", sent.size(), got.size());
        for (int i = 0; i < sent.size(); i++) {
            check(sent.get(i).equals(got.get(i)), "line %d: sent %.60s, read %.60s", i, sent.get(i), got.get(i));
        }
    }

    private void create(String topic, int partitions) throws Exception {
        topics("--create", "--topic", topic, "--partitions", Integer.toString(partitions));
    }

    private String topics(String... arguments) throws Exception {
        return tool("org.apache.kafka.tools.TopicCommand", "", Arrays.asList(arguments));
    }

    private void produce(String topic, List<String> lines, List<String> more) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("--topic", topic, "--max-memory-bytes", "33554432"));
        arguments.addAll(more);
        tool("org.apache.kafka.tools.ConsoleProducer", String.join("\n", lines) + "\n", arguments);
    }

    private List<String> consume(String topic, String offset, int count, List<String> more) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("--topic", topic, "--partition", "0", "--offset", offset,
            "--max-messages", Integer.toString(count), "--timeout-ms", "10000"));
        arguments.addAll(more);
        return tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "", arguments).lines().toList();
    }

    private String offsetAt(String topic, String time) throws Exception {
        String answer = tool("org.apache.kafka.tools.GetOffsetShell", "", List.of("--topic", topic, "--time", time));
        return answer.strip().replaceFirst(".*:0:", "");
    }

    /** Runs a tool and returns what it printed; throws what it complained about. */
    private String tool(String name, String input, List<String> arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-cp", System.getProperty("java.class.path"), name, "--bootstrap-server", bootstrap));
        command.addAll(arguments);
        Path given = Files.createTempFile("tool", ".in");
        Path printed = Files.createTempFile("tool", ".out");
        Path complained = Files.createTempFile("tool", ".err");
        try {
            Files.writeString(given, input);
            Process process = new ProcessBuilder(command).redirectInput(given.toFile())
                .redirectOutput(printed.toFile()).redirectError(complained.toFile()).start();
            try {
                check(process.waitFor(Scenarios.SECONDS_MAX, TimeUnit.SECONDS), "%s did not end", name);
            } finally {
                process.destroyForcibly();
            }
            String errors = Files.readString(complained, StandardCharsets.UTF_8);
            check(process.exitValue() == 0 && !errors.contains("ERROR"), "%s: exit %d: %s", name, process.exitValue(), errors);
            return Files.readString(printed, StandardCharsets.UTF_8);
        } finally {
            Files.delete(given);
            Files.delete(printed);
            Files.delete(complained);
        }
    }
}
