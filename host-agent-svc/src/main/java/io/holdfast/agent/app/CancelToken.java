package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.schemas.event.ErrorCode;
import java.util.ArrayList;
import java.util.List;
import org.jboss.logging.Logger;

/** Lets another thread ask a command at work to give up. Thread-safe. */
final class CancelToken {
    private static final Logger LOG = Logger.getLogger(CancelToken.class);
    private final List<Runnable> hooks = new ArrayList<>();
    private String reason;

    /** Asks to give up; runs the hooks at once, on this thread. Repeats do nothing. */
    void cancel(String why) {
        List<Runnable> run;
        synchronized (this) {
            if (reason != null) {
                return;
            }
            reason = why;
            run = List.copyOf(hooks);
        }
        run.forEach(CancelToken::runSafely);
    }

    private static void runSafely(Runnable hook) {
        try {
            hook.run();
        } catch (RuntimeException e) {
            LOG.warnf(e, "event=cancel-hook-failed");
        }
    }

    /** Why it was cancelled, or null. */
    synchronized String reason() {
        return reason;
    }

    /**
     * Fails when cancelled.
     *
     * @throws AgentException ABORTED
     */
    void check() throws AgentException {
        String why = reason();
        if (why != null) {
            throw new AgentException(ErrorCode.ABORTED, "given up: " + why, "nothing to do");
        }
    }

    /** Registers what makes a blocking call end when cancelled; runs at once when cancelled already. */
    Hook onCancel(Runnable hook) {
        boolean now;
        synchronized (this) {
            now = reason != null;
            hooks.add(hook);
        }
        if (now) {
            runSafely(hook);
        }
        return () -> {
            synchronized (this) {
                hooks.remove(hook);
            }
        };
    }

    /** A registered hook; closing it takes it away. */
    interface Hook extends AutoCloseable {
        @Override
        void close();
    }
}
