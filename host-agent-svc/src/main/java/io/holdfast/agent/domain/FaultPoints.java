package io.holdfast.agent.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import org.jboss.logging.Logger;

/**
 * Makes something go wrong at a {@link FaultPoint}: for tests. {@link #OFF} does nothing, and costs one comparison at each point: no
 * fault can be armed on it. Thread-safe.
 *
 * <p>Faults are text: {@code POINT=ACTION}, several with commas between. An action happens at the first time that its point is
 * passed and is then forgotten, but for slow:
 *
 * <ul>
 *   <li>{@code kill}: the process ends by SIGKILL;
 *   <li>{@code fail}: the step fails with IO_FAILED (in the native library: with EIO);
 *   <li>{@code delay:MS}: the step waits so many milliseconds;
 *   <li>{@code slow:MS}: so does each time that it is passed.
 * </ul>
 *
 * <p>They come from a setting when the agent starts, and from a file ({@link #look}) that is read and removed when a command begins: so a
 * test breaks an agent that runs.
 */
public final class FaultPoints {
    /** No faults. */
    public static final FaultPoints OFF = new FaultPoints(null, null);

    private static final Logger LOG = Logger.getLogger(FaultPoints.class);

    private final boolean on;
    private final Powers powers;
    private final Path file;
    private final Map<FaultPoint, Effect> armed = new ConcurrentHashMap<>();

    /** What needs more than this package knows. */
    public interface Powers {
        /** Ends this process by SIGKILL; does not return. */
        void kill();

        /** Arms a point of the native library, once: action is kill, fail or delay. */
        void arm(FaultPoint point, String action, long millis);
    }

    /** What happens at a point. */
    @FunctionalInterface
    public interface Effect {
        /** Happens. */
        void happen() throws IOException;
    }

    private FaultPoints(Powers powers, Path file) {
        this.on = powers != null;
        this.powers = powers;
        this.file = file;
    }

    /** One on which faults can be armed. */
    public static FaultPoints enabled(Powers powers, Path file) {
        LOG.warnf(
                "event=fault-injection-enabled file=%s msg=\"for tests only: whoever writes that file breaks this agent\"",
                file);
        return new FaultPoints(powers, file);
    }

    /**
     * Arms faults.
     *
     * @throws IllegalArgumentException with what is wrong in the text
     */
    public void arm(String text) {
        for (String one : text.strip().split(",", -1)) {
            String[] words = one.strip().split("=", 2);
            FaultPoint point = FaultPoint.named(words[0])
                    .orElseThrow(() -> new IllegalArgumentException("no fault point '" + words[0] + "'"));
            String[] action = (words.length == 2 ? words[1] : "").split(":", 2);
            long millis = action.length == 2 ? Long.parseLong(action[1]) : 0;
            if (action[0].equals("fail") && !point.canFail()) {
                throw new IllegalArgumentException(point.key() + " cannot fail");
            }
            switch (action[0]) {
                case "kill", "fail", "delay" -> {
                    if (point.isNative()) {
                        check();
                        powers.arm(point, action[0], millis);
                    } else {
                        arm(point, effect(point, action[0], millis));
                    }
                }
                case "slow" -> {
                    if (point.isNative()) {
                        throw new IllegalArgumentException(point.key() + " is native: kill, fail or delay");
                    }
                    arm(point, new Slow(millis));
                }
                default ->
                    throw new IllegalArgumentException("'" + one + "' is not POINT=kill, fail, delay:MS or slow:MS");
            }
            LOG.warnf("event=fault-armed fault=%s", one.strip());
        }
    }

    private Effect effect(FaultPoint point, String action, long millis) {
        return switch (action) {
            case "kill" -> powers::kill;
            case "fail" ->
                () -> {
                    throw new IOException(point.key() + ": failed as asked");
                };
            default -> () -> LockSupport.parkNanos(millis * 1_000_000);
        };
    }

    private record Slow(long millis) implements Effect {
        @Override
        public void happen() {
            LockSupport.parkNanos(millis * 1_000_000);
        }
    }

    private void check() {
        if (!on) {
            throw new IllegalStateException("faults are off");
        }
    }

    /** Arms anything at a point of this process, once. */
    public void arm(FaultPoint point, Effect effect) {
        check();
        armed.put(point, effect);
    }

    /** Takes what the file says, if there is one, and removes it. */
    public void look() {
        if (!on || file == null) {
            return;
        }
        try {
            String text = Files.readString(file, StandardCharsets.UTF_8);
            Files.delete(file);
            arm(text);
        } catch (NoSuchFileException e) {
            // nothing is asked for
        } catch (IOException | IllegalArgumentException e) {
            LOG.errorf(e, "event=faults-not-armed file=%s", file);
        }
    }

    /**
     * The point is passed.
     *
     * @throws AgentException IO_FAILED when it is to fail
     */
    public void reach(FaultPoint point) throws AgentException {
        if (on) {
            try {
                happen(point);
            } catch (IOException e) {
                throw new AgentException(
                        ErrorCode.IO_FAILED, "fault point: " + e.getMessage(), "holdfast.agent.fault is set", e);
            }
        }
    }

    /** The same where failures are IO errors. */
    public void reachIo(FaultPoint point) throws IOException {
        if (on) {
            happen(point);
        }
    }

    private void happen(FaultPoint point) throws IOException {
        Effect effect = armed.get(point);
        if (effect == null) {
            return;
        }
        if (!(effect instanceof Slow)) {
            if (!armed.remove(point, effect)) {
                return; // it has happened to another thread
            }
            LOG.warnf("event=fault number=%d point=%s", point.number(), point.key());
        }
        effect.happen();
    }
}
