package io.holdfast.storage.app;

import java.util.concurrent.atomic.AtomicLong;

/** Bytes done of a long command; written by its threads, read by who reports. */
public final class Progress {
    private final AtomicLong done = new AtomicLong();
    private volatile long total;

    void total(long bytes) {
        total = bytes;
    }

    void add(long bytes) {
        done.addAndGet(bytes);
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
