package io.holdfast.agent.pair;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;

/**
 * Watches the consoles of VMs that print all the time, and knows the longest time in which each of them printed nothing. That is host time: a
 * VM that stands has no clock of its own. A VM that is well prints every {@link #PRINTS}, so this much belongs to each figure.
 */
final class Standstill implements AutoCloseable {
    /** How often a guest with {@code hf.run=clock,50,200} prints. */
    static final Duration PRINTS = Duration.ofMillis(200);

    private final Map<String, Path> consoles;
    private final Thread thread;
    private final Map<String, Long> longest = new TreeMap<>();
    private volatile boolean ended;

    /** Begins; {@link #millis()} ends it. */
    Standstill(Map<String, Path> consoles) {
        this.consoles = Map.copyOf(consoles);
        this.thread = Thread.ofPlatform().daemon().name("standstill").start(this::watch);
    }

    private void watch() {
        Map<String, Long> size = new TreeMap<>();
        Map<String, Long> since = new TreeMap<>();
        boolean last = false;
        while (true) {
            long now = System.nanoTime();
            for (var c : consoles.entrySet()) {
                long bytes = c.getValue().toFile().length();
                Long before = size.put(c.getKey(), bytes);
                if (before == null || before != bytes) {
                    since.put(c.getKey(), now);
                }
                longest.merge(c.getKey(), now - since.get(c.getKey()), Math::max);
            }
            if (last) {
                return;
            }
            last = ended;
            LockSupport.parkNanos(5_000_000);
        }
    }

    /** Ends the watch: the longest time that each VM printed nothing, milliseconds. */
    Map<String, Long> millis() throws InterruptedException {
        ended = true;
        thread.join();
        Map<String, Long> result = new TreeMap<>();
        longest.forEach((vm, nanos) -> result.put(vm, nanos / 1_000_000));
        return result;
    }

    @Override
    public void close() throws InterruptedException {
        millis();
    }
}
