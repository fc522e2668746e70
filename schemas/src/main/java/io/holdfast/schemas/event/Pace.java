package io.holdfast.schemas.event;

import java.util.ArrayDeque;
import java.util.Deque;

/** How fast a command goes: over the last five seconds, so that a rate that changed is soon seen. Thread-safe. */
public final class Pace {
    private static final long WINDOW_NANOS = 5_000_000_000L;

    private record Seen(long nanos, long done) {}

    private final Deque<Seen> seen = new ArrayDeque<>();

    /**
     * What is known now.
     *
     * @param perSecond bytes or steps a second, or null while that is not known
     * @param secondsLeft until all is done at that rate, or null while that is not known
     */
    public record Now(Long perSecond, Long secondsLeft) {
        /** Nothing is known yet. */
        public static final Now UNKNOWN = new Now(null, null);
    }

    /**
     * Notes how far it is, and tells how fast it went.
     *
     * @param nanos time that never goes back, such as {@link System#nanoTime()}
     */
    public synchronized Now at(long done, long total, long nanos) {
        seen.add(new Seen(nanos, done));
        // one that is older than the window stays: the rate is over the window at least
        while (seen.size() > 2 && nanos - second().nanos() >= WINDOW_NANOS) {
            seen.remove();
        }
        Seen first = seen.peekFirst();
        long took = nanos - first.nanos();
        if (took <= 0 || done < first.done()) {
            return Now.UNKNOWN;
        }
        long rate = (long) ((done - first.done()) * 1e9 / took);
        return new Now(rate, rate == 0 ? null : (Math.max(0, total - done) + rate - 1) / rate);
    }

    private Seen second() {
        var i = seen.iterator();
        i.next();
        return i.next();
    }
}
