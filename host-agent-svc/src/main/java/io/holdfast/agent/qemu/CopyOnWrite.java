package io.holdfast.agent.qemu;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.jboss.logging.Logger;

/**
 * Keeps each page as it was at the cut when the guest is about to write to it, so that the guest does not wait for the stream.
 *
 * <p>A background snapshot write-protects the guest's RAM (userfaultfd(2)). Who writes to a protected page waits until QEMU's snapshot thread has
 * put that page on the stream, behind what it has begun: milliseconds for 2 MiB, and as long as the disk takes when the stream
 * stands. A thread of the agent listens at the same userfaultfd: it copies the page out of QEMU's memory, takes the protection off, and the guest goes
 * on. The image takes the page from the copy, whatever the stream says. Either may be first, QEMU or the agent; why the image is exact
 * all the same is said in ADR 0011.
 *
 * <p>Where this cannot be done (a QEMU that does not tell its blocks' addresses, no right to trace it) QEMU serves the guest alone, as it
 * does while the copies have no room.
 *
 * <p>Threads: begin, end and close by the snapshot; a thread of its own copies.
 */
final class CopyOnWrite {
    private static final Logger LOG = Logger.getLogger(CopyOnWrite.class);
    private static final int ECANCELED = 125;
    private static final int ENOSPC = 28;
    private static final int O_RDONLY = 0;

    /**
     * How often whoever waits for a page is made to ask again, milliseconds. QEMU hears of some pages itself, and its thread may stand while
     * the stream does: longer than this nobody is to wait for it.
     */
    private static final int AGAIN_MILLIS = 4;

    private final QemuVm vm;
    private final List<QemuBlocks.Block> blocks;
    private final long[] layout;
    private final long smallestPage;
    private final Stage stage;
    private final int pagemap;
    private final int wake;
    private final Thread thread;
    private final CountDownLatch begun = new CountDownLatch(1);
    private final long[] result = new long[3];
    private final Runnable over;
    private volatile boolean ended;
    private volatile int uffd = -1;

    // The thread's own until it has ended.
    private long copiedBytes;
    private long stalledNanos;

    /**
     * A page, or pages that follow each other, as they were at the cut.
     *
     * @param block its RAM block's name
     * @param offset in the block
     * @param segment where the bytes are; given back by whoever takes the last copy in it
     */
    record Copy(String block, long offset, StagePool.Segment segment, int at, int bytes, boolean last) {
        ByteBuffer content() {
            return segment.buffer.slice(at, bytes);
        }
    }

    private CopyOnWrite(QemuVm vm, List<QemuBlocks.Block> blocks, Stage stage, int pagemap, int wake, Runnable over) {
        this.over = over;
        this.vm = vm;
        this.blocks = blocks;
        this.stage = stage;
        this.pagemap = pagemap;
        this.wake = wake;
        this.smallestPage =
                blocks.stream().mapToLong(QemuBlocks.Block::page).min().orElse(0);
        this.layout = new long[blocks.size() * 3];
        for (int i = 0; i < blocks.size(); i++) {
            layout[i * 3] = blocks.get(i).address();
            layout[i * 3 + 1] = blocks.get(i).bytes();
            layout[i * 3 + 2] = blocks.get(i).page();
        }
        this.thread =
                Thread.ofPlatform().daemon().name("snap-keep-" + vm.name()).unstarted(this::run);
    }

    /**
     * Makes all ready before the cut; null where it cannot be done.
     *
     * @param over run when nobody is served, now or any more, for whatever reason; must not block
     */
    static CopyOnWrite prepare(QemuVm vm, List<QemuBlocks.Block> blocks, Stage stage, Runnable over) {
        if (blocks.isEmpty() || blocks.stream().anyMatch(b -> b.page() > StagePool.SEGMENT)) {
            LOG.infof("event=no-copy-on-write vm=%s reason=\"blocks %s\"", vm.name(), blocks);
            return null;
        }
        int pagemap = -1;
        try {
            pagemap = Native.open(Path.of("/proc/" + vm.pid() + "/pagemap"), O_RDONLY, 0);
            var made = new CopyOnWrite(vm, blocks, stage, pagemap, Native.eventfd(), over);
            made.thread.start();
            return made;
        } catch (IOException e) {
            Native.close(pagemap);
            LOG.infof("event=no-copy-on-write vm=%s reason=\"%s\"", vm.name(), e.getMessage());
            return null;
        }
    }

    /** The snapshot is armed, its VM still stands: from now on who writes is served. False when that cannot be done. */
    boolean begin() {
        try {
            uffd = vm.userfaultfd();
            begun.countDown();
            return true;
        } catch (IOException e) {
            LOG.infof("event=no-copy-on-write vm=%s reason=\"%s\"", vm.name(), e.getMessage());
            return false;
        }
    }

    /** Nobody waits for a page any more, or the snapshot is given up; returns when the thread has ended. Idempotent. */
    void end() throws InterruptedException {
        ended = true;
        begun.countDown();
        stage.pool().wakeAll();
        try {
            Native.signal(wake);
        } catch (IOException e) {
            LOG.errorf(e, "event=copy-on-write-stays vm=%s", vm.name());
        }
        thread.join();
    }

    /** Closes what {@link #prepare} opened, after {@link #end}. */
    void close() {
        Native.close(wake);
        Native.close(pagemap);
    }

    /** Bytes of the copies; after {@link #end}. */
    long copiedBytes() {
        return copiedBytes;
    }

    /** How long copies had no room, nanoseconds; after {@link #end}. */
    long stalledNanos() {
        return stalledNanos;
    }

    private void run() {
        Native.hurry();
        try {
            begun.await();
            if (uffd >= 0 && !ended) {
                keep();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            over.run();
            Native.close(uffd);
        }
    }

    private void keep() throws InterruptedException {
        StagePool.Segment segment = null;
        boolean first = true;
        int used = 0;
        try {
            while (!ended) {
                if (segment == null) {
                    // while there is no room QEMU is to serve who writes, and the stream to flow
                    segment = stage.pool().takeForCopies(first, () -> ended, over, nanos -> stalledNanos += nanos);
                    if (segment == null) {
                        return;
                    }
                    first = false;
                    used = 0;
                }
                int e = Native.lib()
                        .hf_wp_keep(
                                uffd,
                                wake,
                                (int) vm.pid(),
                                pagemap,
                                layout,
                                blocks.size(),
                                segment.address + used,
                                StagePool.SEGMENT - used,
                                AGAIN_MILLIS,
                                result);
                if (e == -ENOSPC && used > 0) {
                    // a huge page after small ones
                    stage.copied(new Copy("", 0, segment, 0, 0, true));
                    segment = null;
                    continue;
                }
                if (e < 0) {
                    if (e != -ECANCELED) {
                        LOG.warnf(
                                "event=copy-on-write-ended vm=%s reason=%s",
                                vm.name(), Native.lib().hf_errno_name(-e));
                    }
                    return;
                }
                QemuBlocks.Block block = blocks.get((int) result[0]);
                int bytes = (int) result[2];
                int at = used;
                used += bytes;
                copiedBytes += bytes;
                boolean full = StagePool.SEGMENT - used < smallestPage;
                stage.copied(new Copy(block.name(), result[1], segment, at, bytes, full));
                if (full) {
                    segment = null;
                }
            }
        } finally {
            if (segment != null) {
                if (used == 0) {
                    stage.pool().give(segment);
                } else {
                    stage.copied(new Copy("", 0, segment, 0, 0, true));
                }
            }
        }
    }
}
