package dev.jocko.applications;

import static dev.jocko.applications.Verdict.until;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.config.ConfigResource;

/**
 * Kafka Connect, distributed: two workers, a file source and a file sink set up over REST, three internal topics.
 * Lines go from one file to the other while a worker is killed, the brokers are restarted and of several one is killed; none is lost.
 */
public final class Connect {
    private final String bootstrap;
    private final String name = "connect-" + System.nanoTime() % 1_000_000_000;
    private final Path folder;
    private final Path input;
    private final Path output;
    private final List<Worker> workers = new ArrayList<>();
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    private final ObjectMapper json = new ObjectMapper();
    private int sent;

    private Connect(String bootstrap) throws IOException {
        this.bootstrap = bootstrap;
        folder = Files.createTempDirectory("connect");
        input = folder.resolve("input.txt");
        output = folder.resolve("output.txt");
    }

    /** A worker: its process, and where it listens. */
    private record Worker(Process process, int port) {
        String address() {
            return "127.0.0.1:" + port;
        }
    }

    public static void main(String[] args) throws IOException {
        Connect connect = new Connect(args[0]);
        Verdict.of("kafka-connect", "connect-file-to-file", connect::run);
        connect.workers.forEach(worker -> worker.process.destroyForcibly());
        Runtime.getRuntime().halt(0);
    }

    private void run() throws Exception {
        append(100);
        Worker first = start();
        put(first, "source", "{\"connector.class\":\"FileStreamSource\",\"tasks.max\":\"1\",\"file\":\"" + input
            + "\",\"topic\":\"" + name + "-lines\"}");
        put(first, "sink", "{\"connector.class\":\"FileStreamSink\",\"tasks.max\":\"1\",\"file\":\"" + output
            + "\",\"topics\":\"" + name + "-lines\",\"consumer.override.auto.offset.reset\":\"earliest\"}");
        awaitLines();
        Worker second = start();
        until("two workers share the tasks", () -> !at(second, "source").equals(at(second, "sink")));
        // The one that reads the file is killed; the other has to go on where it stopped.
        Worker killed = at(second, "source").equals(first.address()) ? first : second;
        Worker left = killed == first ? second : first;
        killed.process.destroyForcibly().waitFor();
        append(100);
        awaitLines();
        until("all runs on the worker that is left", () ->
            at(left, "source").equals(left.address()) && at(left, "sink").equals(left.address()));
        Verdict.throughRestart(this::appendSome);
        awaitLines();
        if (bootstrap.contains(",")) {
            Verdict.throughKill(this::appendSome);
            awaitLines();
        }
        noStrangers();
        internalTopics();
        delete(left, "sink");
        delete(left, "source");
        until("connectors are gone", () -> get(left, "/connectors").isEmpty());
    }

    private Worker start() throws Exception {
        int port;
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        Path properties = folder.resolve("worker-" + port + ".properties");
        Files.writeString(properties, String.join("\n",
            "bootstrap.servers=" + bootstrap,
            "group.id=" + name,
            "listeners=http://127.0.0.1:" + port,
            "key.converter=org.apache.kafka.connect.storage.StringConverter",
            "value.converter=org.apache.kafka.connect.storage.StringConverter",
            "config.storage.topic=" + name + "-configs",
            "offset.storage.topic=" + name + "-offsets",
            "status.storage.topic=" + name + "-status",
            "config.storage.replication.factor=-1",
            "offset.storage.replication.factor=-1",
            "status.storage.replication.factor=-1",
            "offset.flush.interval.ms=500",
            "session.timeout.ms=4000",
            "heartbeat.interval.ms=500",
            "scheduled.rebalance.max.delay.ms=1000",
            "plugin.discovery=service_load",
            "connector.client.config.override.policy=All") + "\n");
        Process process = new ProcessBuilder("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
            System.getProperty("java.class.path"), "org.apache.kafka.connect.cli.ConnectDistributed", properties.toString())
            .redirectErrorStream(true).redirectOutput(folder.resolve("worker-" + port + ".log").toFile()).start();
        Worker worker = new Worker(process, port);
        workers.add(worker);
        until("worker answers", () -> {
            if (!process.isAlive()) {
                throw new AssertionError("a worker ended: see " + folder);
            }
            return get(worker, "/connectors") != null;
        });
        return worker;
    }

    private JsonNode request(Worker worker, String path, HttpRequest.Builder how) throws Exception {
        URI address = URI.create("http://" + worker.address() + path);
        HttpRequest request = how.uri(address).timeout(Duration.ofSeconds(10)).header("Content-Type", "application/json").build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() >= 300) {
            throw new IOException(path + " is answered " + answer.statusCode() + ": " + answer.body());
        }
        return json.readTree(answer.body());
    }

    private JsonNode get(Worker worker, String path) throws Exception {
        return request(worker, path, HttpRequest.newBuilder().GET());
    }

    /** A rebalance makes a worker answer that it is to be asked again. */
    private void put(Worker worker, String connector, String config) throws Exception {
        until(connector + " is set up", () -> request(worker, "/connectors/" + connector + "/config",
            HttpRequest.newBuilder().PUT(HttpRequest.BodyPublishers.ofString(config))) != null);
    }

    private void delete(Worker worker, String connector) throws Exception {
        until(connector + " is removed", () -> {
            request(worker, "/connectors/" + connector, HttpRequest.newBuilder().DELETE());
            return true;
        });
    }

    /** Which worker runs the task of a connector. */
    private String at(Worker asked, String connector) throws Exception {
        JsonNode tasks = get(asked, "/connectors/" + connector + "/status").get("tasks");
        if (tasks.size() != 1 || !tasks.get(0).get("state").asText().equals("RUNNING")) {
            throw new IOException(connector + " does not run: " + tasks);
        }
        return tasks.get(0).get("worker_id").asText();
    }

    private void appendSome() throws Exception {
        append(5);
        // A pace, not a wait: lines are to come in all the while brokers go and come back.
        Thread.sleep(100);
    }

    private void append(int count) throws IOException {
        List<String> lines = IntStream.range(sent, sent + count).mapToObj(i -> "line-" + i).toList();
        sent += count;
        Files.write(input, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    /** Every line arrives; one that was sent again after a kill may arrive twice, since Connect delivers at least once. */
    private void awaitLines() throws Exception {
        until(sent + " lines arrive", () -> {
            Set<String> arrived = new HashSet<>(Files.readAllLines(output));
            return IntStream.range(0, sent).allMatch(i -> arrived.contains("line-" + i));
        });
    }

    /** Nothing arrives that nobody sent. */
    private void noStrangers() throws IOException {
        Set<String> arrived = new HashSet<>(Files.readAllLines(output));
        IntStream.range(0, sent).forEach(i -> arrived.remove("line-" + i));
        if (!arrived.isEmpty()) {
            throw new AssertionError("lines that nobody sent: " + arrived);
        }
    }

    private void internalTopics() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (String kind : List.of("configs", "offsets", "status")) {
                ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name + "-" + kind);
                String policy = admin.describeConfigs(List.of(topic)).all().get().get(topic).get("cleanup.policy").value();
                if (!policy.equals("compact")) {
                    throw new AssertionError(topic.name() + " has cleanup.policy " + policy);
                }
            }
        }
    }
}
