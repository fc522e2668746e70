package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Does the same for several VMs side by side. */
final class Parallel {
    private Parallel() {}

    /** What is done for one. */
    @FunctionalInterface
    interface Task<T> {
        void run(T item) throws AgentException;
    }

    /** Runs the task for every item, at most {@code width} at once; waits for all, then throws the first failure. */
    static <T> void each(List<T> items, int width, Task<T> task) throws AgentException {
        if (items.size() <= 1) {
            for (T item : items) {
                task.run(item);
            }
            return;
        }
        List<Future<?>> futures = new ArrayList<>();
        AgentException failed = null;
        try (ExecutorService pool = Executors.newFixedThreadPool(
                Math.max(1, Math.min(width, items.size())),
                Thread.ofPlatform().name("vm-", 0).daemon(true).factory())) {
            for (T item : items) {
                futures.add(pool.submit(() -> {
                    task.run(item);
                    return null;
                }));
            }
            for (Future<?> f : futures) {
                try {
                    f.get();
                } catch (ExecutionException e) {
                    AgentException now = e.getCause() instanceof AgentException a ? a : internal(e.getCause());
                    if (failed == null) {
                        failed = now;
                    } else {
                        failed.addSuppressed(now);
                    }
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw internal(e);
        }
        if (failed != null) {
            throw failed;
        }
    }

    static AgentException internal(Throwable e) {
        return new AgentException(
                io.holdfast.schemas.event.ErrorCode.INTERNAL,
                "the agent failed: " + e,
                "see the agent's log and report a bug",
                e);
    }
}
