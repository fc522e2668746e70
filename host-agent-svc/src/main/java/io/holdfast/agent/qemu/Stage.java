package io.holdfast.agent.qemu;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;

/** The bytes of one stream between its reader and its writer. One reader thread, one writer thread; any thread may give up. */
final class Stage {
    private final StagePool pool;

    // Guarded by this.
    private final Deque<StagePool.Segment> queue = new ArrayDeque<>();
    private boolean ended;
    private IOException failure;

    private volatile boolean givenUp;

    Stage(StagePool pool) {
        this.pool = pool;
    }

    /** Reader: a segment with room, or null when given up. */
    StagePool.Segment room(StagePool.Segment current) throws InterruptedException {
        if (current != null && current.filled < StagePool.SEGMENT) {
            return isGivenUp() ? null : current;
        }
        StagePool.Segment next = pool.take(this::isGivenUp);
        if (next != null) {
            synchronized (this) {
                queue.add(next); // when given up meanwhile, release() gives it back
            }
        }
        return next;
    }

    /** Reader: more bytes are in the segment. */
    synchronized void filled(StagePool.Segment s, int bytes) {
        s.filled += bytes;
        notifyAll();
    }

    /** Reader: the stream has ended, with a failure or null. */
    synchronized void end(IOException why) {
        ended = true;
        failure = failure == null ? why : failure;
        notifyAll();
    }

    /** Writer: the next bytes, valid until the next call; null at the end. */
    ByteBuffer next() throws IOException, InterruptedException {
        StagePool.Segment done = null;
        ByteBuffer result = null;
        synchronized (this) {
            while (true) {
                if (givenUp) {
                    throw new IOException("the snapshot was given up");
                }
                StagePool.Segment head = queue.peek();
                if (head != null && head.taken == StagePool.SEGMENT) {
                    done = queue.remove();
                    break;
                }
                if (head != null && head.taken < head.filled) {
                    result = head.buffer.slice(head.taken, head.filled - head.taken);
                    head.taken = head.filled;
                    break;
                }
                if (ended) {
                    if (failure != null) {
                        throw failure;
                    }
                    return null;
                }
                wait();
            }
        }
        if (done != null) {
            pool.give(done);
            return next();
        }
        return result;
    }

    /** Anyone: reader and writer stop as soon as they look. */
    void giveUp() {
        synchronized (this) {
            givenUp = true;
            notifyAll();
        }
        pool.wakeAll();
    }

    boolean isGivenUp() {
        return givenUp;
    }

    /** Gives the memory back, once reader and writer have ended. */
    void release() {
        Deque<StagePool.Segment> left;
        synchronized (this) {
            left = new ArrayDeque<>(queue);
            queue.clear();
        }
        left.forEach(pool::give);
    }
}
