package dev.jocko.applications;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.common.utils.AppInfoParser;

/** Runs one scenario within a time limit and prints its verdict, as all programs of the compatibility runs do. */
final class Verdict {
    /** The whole of a scenario may take so long. */
    static final long SECONDS_MAX = 300;

    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

    private Verdict() {
    }

    /** A scenario; it fails by throwing. */
    interface Scenario {
        void run() throws Exception;
    }

    /** A condition that is reached in its own time; a throw means not yet. */
    interface Condition {
        boolean holds() throws Exception;
    }

    static void of(String client, String name, Scenario scenario) {
        System.out.println("CLIENT " + client + " " + AppInfoParser.getVersion());
        FutureTask<Void> task = new FutureTask<>(() -> {
            scenario.run();
            return null;
        });
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        thread.start();
        String verdict = "PASS " + name;
        try {
            task.get(SECONDS_MAX, TimeUnit.SECONDS);
        } catch (TimeoutException late) {
            verdict = "FAIL " + name + ": still running after " + SECONDS_MAX + " s";
        } catch (ExecutionException failed) {
            verdict = "FAIL " + name + ": " + failed.getCause().toString().replaceAll("\\s+", " ");
        } catch (InterruptedException interrupted) {
            verdict = "FAIL " + name + ": interrupted";
        }
        System.out.println(verdict);
        System.out.flush();
    }

    static void until(String what, Condition condition) throws InterruptedException {
        Exception last = null;
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        while (System.nanoTime() < deadline) {
            try {
                if (condition.holds()) {
                    return;
                }
                last = null;
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception notYet) {
                last = notYet;
            }
            Thread.sleep(100);
        }
        throw new AssertionError(what + ": did not happen in time (last: " + last + ")");
    }

    /** What is done over and over while brokers come and go. */
    interface Work {
        void once() throws Exception;
    }

    /** Asks whoever runs this program to restart the brokers, and works until that is done. */
    static void throughRestart(Work work) throws Exception {
        through("RESTART", work);
    }

    /** Asks whoever runs this program to kill a broker that leads and to bring it back, and works until that is done. */
    static void throughKill(Work work) throws Exception {
        through("KILL", work);
    }

    private static void through(String what, Work work) throws Exception {
        System.out.println("READY-FOR-" + what);
        System.out.flush();
        FutureTask<String> done = new FutureTask<>(INPUT::readLine);
        Thread waiting = new Thread(done, "waits for " + what);
        waiting.setDaemon(true);
        waiting.start();
        do {
            work.once();
        } while (!done.isDone());
        if (done.get() == null) {
            throw new IOException("nobody is there to do it");
        }
    }
}
