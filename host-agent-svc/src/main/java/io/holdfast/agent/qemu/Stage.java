package io.holdfast.agent.qemu;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;

/** The bytes of one stream between its reader and its writer. One reader thread, one writer thread; any thread may give up. */
final class Stage {
    private static final long LOOK_MILLIS = 20;

    private final StagePool pool;

    // The reader's own.
    private StagePool.Segment current;
    private int room;
    private long stalledNanos;

    // Guarded by this.
    private final Deque<StagePool.Segment> queue = new ArrayDeque<>();
    private final Deque<CopyOnWrite.Copy> copies = new ArrayDeque<>();
    private boolean ended;
    private IOException failure;

    private volatile boolean givenUp;

    /** A stage whose first memory is made beforehand; {@link #release} ends it. */
    Stage(StagePool pool) {
        this.pool = pool;
        pool.opened();
    }

    /**
     * Reader: a segment with room, or null when given up. It is the reader's until {@link #filled} has made it full: then the writer may
     * give it back at any moment, and another stage's reader may have it.
     */
    StagePool.Segment room() throws InterruptedException {
        if (current == null) {
            StagePool.Segment next = pool.take(this::isGivenUp, nanos -> stalledNanos += nanos);
            if (next == null) {
                return null;
            }
            current = next;
            room = StagePool.SEGMENT;
            synchronized (this) {
                queue.add(next); // when given up meanwhile, release() gives it back
            }
        }
        return isGivenUp() ? null : current;
    }

    /** Reader: how many bytes the segment that {@link #room()} gave still takes. */
    int roomBytes() {
        return room;
    }

    /** Reader: where in memory they go. */
    long roomAddress() {
        return current.address + StagePool.SEGMENT - room;
    }

    /** Reader: more bytes are in the segment. */
    void filled(int bytes) {
        StagePool.Segment s = current;
        room -= bytes;
        if (room == 0) {
            current = null;
        }
        synchronized (this) {
            s.filled += bytes;
            notifyAll();
        }
    }

    /** How long the reader has waited because the pool was empty, nanoseconds; once the reader has ended. */
    long stalledNanos() {
        return stalledNanos;
    }

    StagePool pool() {
        return pool;
    }

    /** Writer: waits until the host's stage is half full, the stream has ended, or it was given up. */
    void awaitHalfFullOrEnd() throws InterruptedException {
        synchronized (this) {
            while (!ended && !givenUp && !pool.halfFull()) {
                wait(LOOK_MILLIS); // another stream may fill the pool
            }
        }
    }

    /** Who keeps pages: here is one. The writer is woken. */
    synchronized void copied(CopyOnWrite.Copy copy) {
        copies.add(copy);
        notifyAll();
    }

    /** Writer: the next page that was kept, or null when there is none now. What came before it in the same segment must have been used. */
    synchronized CopyOnWrite.Copy nextCopy() {
        return copies.poll();
    }

    /** Reader: the stream has ended, with a failure or null. */
    synchronized void end(IOException why) {
        ended = true;
        failure = failure == null ? why : failure;
        notifyAll();
    }

    /** Writer: the next bytes, valid until the next call, none when only copies have come; null at the end. */
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
                if (!copies.isEmpty()) {
                    return ByteBuffer.allocate(0);
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

    /** Gives the memory back, once reader and writer and who keeps pages have ended. */
    void release() {
        Deque<StagePool.Segment> left;
        synchronized (this) {
            left = new ArrayDeque<>(queue);
            queue.clear();
            copies.stream().filter(CopyOnWrite.Copy::last).forEach(c -> left.add(c.segment()));
            copies.clear();
        }
        left.forEach(pool::give);
        pool.closed();
    }
}
