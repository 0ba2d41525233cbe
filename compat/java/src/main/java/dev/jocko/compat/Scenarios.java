package dev.jocko.compat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.common.utils.AppInfoParser;

/** Runs scenarios by name, each with a time limit, and prints one line for each. */
final class Scenarios {
    /** A scenario that takes longer has failed; nothing may hang. */
    static final long SECONDS_MAX = 20;

    /** A scenario; it fails by throwing. */
    interface Scenario {
        void run(String topic) throws Exception;
    }

    /** Thrown for what the client cannot do: the scenario is skipped. */
    static final class Unsupported extends RuntimeException {
        private static final long serialVersionUID = 1;

        Unsupported(String reason) {
            super(reason);
        }
    }

    private final String client;
    private final Map<String, Scenario> scenarios = new LinkedHashMap<>();

    Scenarios(String client) {
        this.client = client;
    }

    Scenarios add(String name, Scenario scenario) {
        scenarios.put(name, scenario);
        return this;
    }

    /** Runs those named, or all, and ends the process: clients' threads may still hang. */
    void runAndExit(List<String> names) {
        System.out.println("CLIENT " + client + " " + AppInfoParser.getVersion());
        boolean failed = false;
        for (Map.Entry<String, Scenario> each : scenarios.entrySet()) {
            if (names.isEmpty() || names.contains(each.getKey())) {
                String verdict = attempt(each.getKey(), each.getValue());
                failed |= verdict.startsWith("FAIL");
                System.out.println(verdict);
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(failed ? 1 : 0);
    }

    private String attempt(String name, Scenario scenario) {
        String topic = "compat-" + client + "-" + name + "-" + System.nanoTime() % 1_000_000_000;
        // A broker's restart lies inside this one.
        long limit = name.equals("reconnect") || name.endsWith("-restart") ? 3 * SECONDS_MAX : SECONDS_MAX;
        ExecutorService thread = Executors.newSingleThreadExecutor(body -> {
            Thread daemon = new Thread(body, name);
            daemon.setDaemon(true);
            return daemon;
        });
        Future<?> done = thread.submit((Callable<Void>) () -> {
            scenario.run(topic);
            return null;
        });
        try {
            done.get(limit, TimeUnit.SECONDS);
            return "PASS " + name;
        } catch (TimeoutException late) {
            return "FAIL " + name + ": still running after " + limit + " s";
        } catch (ExecutionException failed) {
            String reason = failed.getCause().toString().replaceAll("\\s+", " ");
            if (failed.getCause() instanceof Unsupported) {
                return "SKIP " + name + ": " + failed.getCause().getMessage();
            }
            return "FAIL " + name + ": " + reason.substring(0, Math.min(400, reason.length()));
        } catch (InterruptedException interrupted) {
            return "FAIL " + name + ": interrupted";
        } finally {
            thread.shutdownNow();
        }
    }

    /** Asks whoever runs this program to restart the broker, and waits until that is done. */
    static void awaitRestart() throws IOException {
        System.out.println("READY-FOR-RESTART");
        System.out.flush();
        if (new BufferedReader(new InputStreamReader(System.in)).readLine() == null) {
            throw new Unsupported("nobody is there to restart the broker");
        }
    }

    static void check(boolean holds, String otherwise, Object... arguments) {
        if (!holds) {
            throw new AssertionError(String.format(otherwise, arguments));
        }
    }

    static String show(byte[] bytes) {
        return bytes == null ? "null" : new String(Arrays.copyOf(bytes, Math.min(bytes.length, 40)));
    }
}
