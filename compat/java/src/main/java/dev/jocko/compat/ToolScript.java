package dev.jocko.compat;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs scripts of Kafka's command line tools, all in this process, and prints what each said with ids, times and
 * addresses replaced, so that two clusters can be compared. Arguments: BOOTSTRAP FOLDER SCRIPT....
 *
 * <p>A line of a script is {@code name: Tool arguments}, optionally followed by {@code << a|b} (lines of standard
 * input), {@code > file} (its output goes there as well) and {@code & seconds} (it does not end by itself). Of a step
 * whose name ends with {@code ~} numbers are left out. {@code BOOTSTRAP} stands for the brokers' addresses, which are
 * otherwise the first argument, and {@code FOLDER} for a folder of files.
 *
 * <p>A line that begins with {@code @} is ours: {@code @produce TOPIC PARTITION COUNT}, {@code @fill TOPIC PARTITION
 * MEGABYTES}, {@code @member NAME GROUP TOPIC SETTING VALUE...}, {@code @leave NAME}, {@code @settle}; of several
 * brokers {@code @stop N}, {@code @kill N}, {@code @start N}, which whoever runs this does, and what is waited for:
 * {@code @insync TOPIC} (all replicas are), {@code @away TOPIC N} (broker N is in sync with nothing), {@code @leaderless
 * TOPIC}, {@code @led TOPIC}, {@code @moved} (nothing is being reassigned). {@code @places any} and {@code @places exact} say whether it matters
 * which broker has what.
 */
public final class ToolScript {
    private static final long SECONDS_MAX = 30;
    /** The time of the first record that `@produce` sends; the others follow a second apart. */
    private static final long BASE = 1_700_000_000_000L;

    private static final Map<String, String> TOOLS = Map.ofEntries(
        Map.entry("ConfigCommand", "kafka.admin.ConfigCommand"),
        Map.entry("ConsoleConsumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
        Map.entry("ConsumerGroupCommand", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
        Map.entry("ReassignPartitionsCommand", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"));

    /** A tool that runs: what it printed until it wanted to end, and its status. */
    private static final class Call {
        final ByteArrayOutputStream printed = new ByteArrayOutputStream();
        final List<Runnable> hooks = new ArrayList<>();
        final CountDownLatch done = new CountDownLatch(1);
        String said;

        synchronized void end(int status) {
            if (said == null) {
                hooks.forEach(Runnable::run);
                said = printed.toString(StandardCharsets.UTF_8) + (status == 0 ? "" : "\nEXIT " + status);
                done.countDown();
            }
        }
    }

    private static volatile Call current;

    /** Ends the current tool instead of this process. Tools catch all that is thrown, so their thread is left standing. */
    private static void exit(int status, String message) {
        current.end(status);
        while (true) {
            LockSupport.park();
        }
    }

    private final String bootstrap;
    private final Path folder;
    private final Client client;
    private final Map<String, Member> members = new HashMap<>();
    private final Places places;
    private final PrintStream out = System.out;
    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    private ToolScript(String bootstrap, Path folder) {
        this.bootstrap = bootstrap;
        this.folder = folder;
        client = new Client(bootstrap);
        places = new Places(client.admin(), bootstrap);
    }

    public static void main(String[] args) throws Exception {
        ToolScript script = new ToolScript(args[0], Path.of(args[1]));
        Exit.setExitProcedure(ToolScript::exit);
        Exit.setHaltProcedure(ToolScript::exit);
        Exit.setShutdownHookAdder((name, hook) -> current.hooks.add(hook));
        int status = 0;
        for (String file : Arrays.copyOfRange(args, 2, args.length)) {
            for (String line : Files.readAllLines(Path.of(file))) {
                if (line.isBlank() || line.startsWith("#")) {
                    continue;
                }
                try {
                    script.line(line);
                } catch (Exception | AssertionError failed) {
                    // What we do ourselves has to work on both sides.
                    script.out.println("=== " + line + "\nSCRIPT " + failed);
                    status = 1;
                }
                script.out.flush();
            }
        }
        // Tools leave threads behind.
        Runtime.getRuntime().halt(status);
    }

    private void line(String line) throws Exception {
        if (line.startsWith("@")) {
            directive(line.substring(1).split("\\s+"));
            return;
        }
        int colon = line.indexOf(": ");
        String name = line.substring(0, colon);
        String command = line.substring(colon + 2);
        long seconds = 0;
        int ampersand = command.indexOf(" & ");
        if (ampersand >= 0) {
            seconds = Long.parseLong(command.substring(ampersand + 3).strip());
            command = command.substring(0, ampersand);
        }
        String copy = null;
        int arrow = command.indexOf(" > ");
        if (arrow >= 0) {
            copy = command.substring(arrow + 3).strip();
            command = command.substring(0, arrow);
        }
        String input = "";
        int from = command.indexOf(" << ");
        if (from >= 0) {
            input = command.substring(from + 4).replace('|', '\n').replace("\\t", "\t") + "\n";
            command = command.substring(0, from);
        }
        long started = System.nanoTime();
        String said = run(words(command), input, seconds);
        if (name.endsWith("~")) {
            said = said.replaceAll("[0-9][0-9.,:-]*", "N");
        }
        if (copy != null) {
            Files.writeString(folder.resolve(copy), said);
        }
        out.println("=== " + name);
        // One line of JSON holds partitions in no particular order.
        said.replace("},{", "},\n{").lines().map(this::normal).filter(text -> !text.isEmpty()).forEach(out::println);
        System.err.printf("%s took %d ms%n", name, (System.nanoTime() - started) / 1_000_000);
    }

    private void directive(String[] words) throws Exception {
        switch (words[0]) {
            case "produce" -> {
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int i = 0; i < Integer.parseInt(words[3]); i++) {
                    records.add(new ProducerRecord<>(words[1], Integer.parseInt(words[2]), BASE + i * 1000L,
                        ("key-" + i).getBytes(StandardCharsets.UTF_8), ("record-" + i).getBytes(StandardCharsets.UTF_8)));
                }
                // In one batch, so that logs have the same size.
                client.produce(records, "linger.ms", "500");
            }
            case "member" -> {
                String[] settings = Arrays.copyOfRange(words, 4, words.length);
                Member member = new Member(bootstrap, words[2], Member.topic(words[3]), settings);
                members.put(words[1], member);
                Client.until("member holds partitions", () -> !member.held().isEmpty());
                // The broker has seen the last heartbeat of the rebalance when the group is stable for it too.
                Client.until("group is stable", () -> client.stable(words[2]));
            }
            case "fill" -> {
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int i = 0; i < Integer.parseInt(words[3]) * 4; i++) {
                    records.add(new ProducerRecord<>(words[1], Integer.parseInt(words[2]), BASE + i * 1000L, null,
                        new byte[250_000]));
                }
                client.produce(records);
            }
            case "places" -> places.matter(words[1].equals("exact"));
            case "insync", "away", "leaderless", "led", "moved" -> places.await(words);
            case "stop", "kill", "start" -> {
                out.println("READY-FOR-" + words[0].toUpperCase() + " " + words[1]);
                out.flush();
                if (in.readLine() == null) {
                    throw new IllegalStateException("nobody is there to do it");
                }
            }
            // For what Kafka does after it has answered, and shows nowhere else.
            case "settle" -> Thread.sleep(1000);
            case "leave" -> members.remove(words[1]).close();
            default -> throw new IllegalArgumentException("no directive " + words[0]);
        }
    }

    private List<String> words(String command) {
        List<String> words = new ArrayList<>();
        Matcher matcher = Pattern.compile("'([^']*)'|(\\S+)").matcher(command);
        while (matcher.find()) {
            words.add((matcher.group(1) == null ? matcher.group(2) : matcher.group(1)).replace("FOLDER", folder.toString()));
        }
        return words;
    }

    /** Runs a tool as its own process would, and returns all it printed. */
    private String run(List<String> words, String input, long seconds) throws Exception {
        String name = TOOLS.getOrDefault(words.get(0), "org.apache.kafka.tools." + words.get(0));
        List<String> arguments = new ArrayList<>();
        if (words.stream().noneMatch(word -> word.contains("BOOTSTRAP"))) {
            arguments.addAll(List.of("--bootstrap-server", bootstrap));
        }
        words.stream().skip(1).map(word -> word.replace("BOOTSTRAP", bootstrap)).forEach(arguments::add);
        Call call = new Call();
        current = call;
        PrintStream out = System.out;
        PrintStream err = System.err;
        InputStream in = System.in;
        PrintStream both = new PrintStream(call.printed, true, StandardCharsets.UTF_8);
        Thread thread = new Thread(() -> {
            try {
                Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments.toArray(new String[0]));
            } catch (InvocationTargetException thrown) {
                both.println("THROWN " + thrown.getCause());
            } catch (ReflectiveOperationException absent) {
                both.println("THROWN " + absent);
            }
            call.end(0);
        }, words.get(0));
        thread.setDaemon(true);
        System.setOut(both);
        System.setErr(both);
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            thread.start();
            boolean ended = call.done.await(seconds > 0 ? seconds : SECONDS_MAX, TimeUnit.SECONDS);
            return ended ? call.said : call.printed + (seconds > 0 ? "" : "\nHANGS");
        } finally {
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
    }

    /** Replaces what differs from run to run. */
    private String normal(String line) {
        return places.normal(line)
            .replaceAll("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID")
            .replaceAll("(TopicId|ClusterId|DirectoryId|Topic ID|with id):?(\\s+)[A-Za-z0-9_-]{22}\\b", "$1: ID")
            .replaceAll("(?<=\\s)(?=\\S*[A-Z])(?=\\S*[a-z])[A-Za-z0-9_-]{22}(?=\\s|$)", "ID")
            .replaceAll("\\b(Epoch|HighWatermark):(\\s+)\\d+", "$1:$2 N")
            .replaceAll("^((?:\\d+|ONE)\\s+)(?:ID|A{22})\\s+\\d+", "$1 ID N")
            .replaceAll("\\b1[6-9]\\d{11}\\b", "TIME")
            .replaceAll("\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d[.,]\\d+Z?", "TIME")
            .replaceAll("\"log_dirs\":\\[[^]]*]", "\"log_dirs\":[DIR]")
            .replaceAll("\"logDir\":\"[^\"]*\"", "\"logDir\":\"DIR\"")
            .replaceAll("/(\\S+/)+", "PATH/")
            .replaceAll("\\s+at (dev|org|java|kafka|scala|jdk|picocli)\\..*", "")
            .replaceAll("\\s+", " ").strip();
    }
}
