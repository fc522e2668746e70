package io.holdfast.agent.app;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/**
 * Runs tasks of one key one after the other, of different keys side by side. Holds everything back until {@link #open}.
 * A task that throws is logged and never keeps the next from running.
 */
final class KeyedExecutor implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger(KeyedExecutor.class);
    private final ExecutorService threads;
    private final Map<String, Queue<Runnable>> waiting = new HashMap<>();
    private boolean open;

    KeyedExecutor() {
        this.threads = Executors.newCachedThreadPool(
                Thread.ofPlatform().name("instance-", 0).daemon(true).factory());
    }

    /** Queues a task. */
    synchronized void execute(String key, Runnable task) {
        Queue<Runnable> queue = waiting.get(key);
        if (queue == null) {
            queue = new ArrayDeque<>();
            waiting.put(key, queue);
            queue.add(task);
            if (open) {
                start(key);
            }
        } else {
            queue.add(task);
        }
    }

    /** Lets tasks run. */
    synchronized void open() {
        if (!open) {
            open = true;
            waiting.keySet().forEach(this::start);
        }
    }

    @SuppressWarnings("FutureReturnValueIgnored") // tasks report by themselves
    private void start(String key) {
        threads.execute(() -> run(key));
    }

    private void run(String key) {
        while (true) {
            Runnable task;
            synchronized (this) {
                task = waiting.get(key).poll();
                if (task == null) {
                    waiting.remove(key);
                    return;
                }
            }
            try {
                task.run();
            } catch (RuntimeException | Error e) {
                LOG.errorf(e, "event=task-failed key=%s", key);
            }
        }
    }

    /** Lets running tasks end, at most that long, and forgets those that wait. */
    void shutdown(long millis) {
        synchronized (this) {
            open = false;
            waiting.values().forEach(Queue::clear);
        }
        threads.shutdown();
        try {
            if (!threads.awaitTermination(millis, TimeUnit.MILLISECONDS)) {
                threads.shutdownNow();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        shutdown(0);
    }
}
