package io.holdfast.agent.qemu;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.IntSupplier;
import java.util.function.LongConsumer;
import org.jboss.logging.Logger;

/**
 * Memory that takes snapshot streams before they are on the disk: direct buffers, kept for the next snapshot, bounded for the host.
 * Thread-safe.
 */
final class StagePool {
    private static final Logger LOG = Logger.getLogger(StagePool.class);
    static final int SEGMENT = 2 << 20;
    private static final int LEAST_FREE = 8;

    /** Streams at once for which there are processors beside the guests'. */
    static final int ROOM = Runtime.getRuntime().availableProcessors() / 2;

    private final AtomicInteger streams = new AtomicInteger();

    // Guarded by this.
    private int limit;
    /** Segments that only copies of pages get: a stream that waits makes an image late, a copy that waits makes a guest wait. */
    private int reserve;

    private final Deque<Segment> free = new ArrayDeque<>();
    private int made;
    /** Snapshots that are prepared or being written. */
    private int open;

    private boolean exhausted;

    /** A piece of memory with its address. */
    static final class Segment {
        final ByteBuffer buffer = ByteBuffer.allocateDirect(SEGMENT);
        final long address = NativeBuffers.address(buffer);
        /** Bytes that the reader has put; guarded by the stage. */
        int filled;
        /** Bytes that the writer has taken; the writer's own. */
        int taken;
    }

    /** A pool of at most that many bytes, at least two segments. */
    StagePool(long bytes) {
        this.limit = (int) Math.max(2, Math.min(bytes / SEGMENT, Integer.MAX_VALUE));
        this.reserve = limit / 4;
    }

    /**
     * A segment for a stream; waits while all are in use, which means that the disk is slower than the stream and the bound is reached.
     *
     * @param stalled gets the nanoseconds that were waited, if any
     * @return null when given up meanwhile (see {@link #wakeAll})
     */
    Segment take(BooleanSupplier givenUp, LongConsumer stalled) throws InterruptedException {
        return take(givenUp, () -> {}, stalled, () -> reserve);
    }

    /**
     * The same for copies of pages: they may have the last one, but a VM's first one only while less than half of the memory is in use. So
     * many VMs that each keep one do not take the room that their streams need.
     *
     * @param waits run before it waits, with the lock held
     */
    Segment takeForCopies(boolean first, BooleanSupplier givenUp, Runnable waits, LongConsumer stalled)
            throws InterruptedException {
        return take(givenUp, waits, stalled, () -> first ? limit / 2 : 0);
    }

    /** A free or a new one; null when there is no memory for it. Holds the lock. */
    private Segment poll() {
        Segment s = free.poll();
        return s == null && made < limit && !exhausted ? make() : s;
    }

    private Segment take(BooleanSupplier givenUp, Runnable waits, LongConsumer stalled, IntSupplier leave)
            throws InterruptedException {
        long since = 0;
        synchronized (this) {
            while (true) {
                if (givenUp.getAsBoolean()) {
                    return null;
                }
                Segment s = limit - (made - free.size()) > leave.getAsInt() ? poll() : null;
                if (s != null) {
                    if (since != 0) {
                        stalled.accept(System.nanoTime() - since);
                    }
                    s.filled = 0;
                    s.taken = 0;
                    return s;
                }
                if (since == 0) {
                    since = System.nanoTime();
                    waits.run();
                }
                wait();
            }
        }
    }

    private Segment make() {
        try {
            var s = new Segment();
            made++;
            return s;
        } catch (OutOfMemoryError e) {
            if (made == 0) {
                throw e;
            }
            exhausted = true;
            LOG.warnf(
                    "event=stage-memory-short made=%d wanted=%d remedy=\"raise -XX:MaxDirectMemorySize\"", made, limit);
            // what there is, is all: halves and quarters are of that
            limit = Math.max(2, made);
            reserve = limit / 4;
            return null;
        }
    }

    /**
     * A snapshot is being prepared: makes memory for its stream's and its copies' first segments, and a few more for the host, as far as
     * the bound allows, so that none is made while VMs stand. {@link #closed} ends that; the memory stays for the next.
     */
    synchronized void opened() {
        open++;
        int wanted = Math.max(LEAST_FREE, 2 * open);
        while (free.size() < wanted && made < limit && !exhausted) {
            Segment s = make();
            if (s != null) {
                free.push(s);
            }
        }
    }

    synchronized void closed() {
        open--;
    }

    synchronized void give(Segment s) {
        free.push(s);
        notifyAll();
    }

    /** Lets waiting takers look whether they are given up. */
    synchronized void wakeAll() {
        notifyAll();
    }

    /** Streams of this host that flow now; whoever reads one adds itself and takes itself off. */
    AtomicInteger streams() {
        return streams;
    }

    /** Whether there is a processor for each snapshot of the host beside its guest's. */
    synchronized boolean roomForAll() {
        return open <= ROOM;
    }

    /** Whether half of the memory is in use: it is time to write. */
    synchronized boolean halfFull() {
        return made - free.size() >= Math.max(1, limit / 2);
    }

    /** Segments that are made and not in use. For tests. */
    synchronized int free() {
        return free.size();
    }

    /** Segments in use. For tests. */
    synchronized int inUse() {
        return made - free.size();
    }
}
