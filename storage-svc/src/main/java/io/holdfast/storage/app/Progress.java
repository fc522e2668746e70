package io.holdfast.storage.app;

import io.holdfast.schemas.event.Pace;
import java.util.concurrent.atomic.AtomicLong;

/** Bytes, or steps, done of a long command; written by its threads, read by who reports. */
public final class Progress {
    private final AtomicLong done = new AtomicLong();
    private volatile long total;
    private volatile String unit = "bytes";
    private final Pace pace = new Pace();

    public void total(long bytes) {
        total = bytes;
    }

    public void add(long bytes) {
        done.addAndGet(bytes);
    }

    /** Nothing of it is done any more: it begins anew. */
    void again() {
        done.set(0);
    }

    /** From now on steps are counted. */
    public void steps() {
        unit = "steps";
    }

    /** What is counted: bytes or steps. */
    public String unit() {
        return unit;
    }

    /** How fast it goes, for who reports. */
    Pace pace() {
        return pace;
    }

    /** Bytes done. */
    public long done() {
        return done.get();
    }

    /** Bytes in all, 0 while that is not known. */
    public long total() {
        return total;
    }
}
