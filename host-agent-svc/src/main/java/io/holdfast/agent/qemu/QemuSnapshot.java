package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.image.DevicesFile;
import io.holdfast.agent.image.FileCloner;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.agent.image.RamWriter;
import io.holdfast.agent.image.StreamException;
import io.holdfast.agent.image.StreamParser;
import io.holdfast.agent.nat.Native;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.jboss.logging.Logger;

/**
 * A background snapshot of a VM into an image.
 *
 * <p>QEMU writes its stream into a pipe. A reader thread takes it into memory and never waits for the disk until the bound is reached: a guest
 * that writes to a page which is not on the stream yet stands until it is. A writer thread parses the stream and writes pages behind. The
 * first RAM record means armed: QEMU has saved device state in its memory and write-protected the RAM, so the VM may run. Pages that the guest
 * writes to from then on are kept first ({@link CopyOnWrite}).
 *
 * <p>Threads: begin, awaitArmed, awaitComplete and close may be called from any thread; begin once.
 */
final class QemuSnapshot implements Vm.Snapshot {
    private static final Logger LOG = Logger.getLogger(QemuSnapshot.class);
    static final String FD_NAME = "hf-snapshot";
    /** The pipe's size until the VMs run: QEMU is to stand once its first records are in it. */
    private static final int PIPE_WAITING = 4096;

    /** Its size from then on: small, so that QEMU does not run far ahead of the pace (128 KiB of zero pages are 58 MiB of RAM). */
    private static final int PIPE_FLOWING = 128 << 10;
    /** Its size where nothing holds the stream back: then each side has much to do before it waits for the other. */
    private static final int PIPE_ROOM = 1 << 20;

    /** Then QEMU's thread and the reader of its stream have their time before other work of the host, and the disk's before none. */
    private static final int NICE_STREAM = -10;

    private static final int NICE_WRITER = 0;
    /** Elsewhere the disk's work comes last. */
    private static final int NICE_LAST = 10;
    /** More than QEMU writes before the first RAM record, by far. */
    private static final int TASTE = 64 << 10;

    /** What is read at once when streams are taken at a pace, and the pause after it for each stream too many. */
    private static final int SIP = 64 << 10;

    private static final long PACE_NANOS = 300_000;

    private static final long MAX_BANDWIDTH = 100L << 30;
    /** ROMs and tables beside the guest's RAM. */
    private static final long OTHER_BLOCKS = 256L << 20;

    private static final int O_RDONLY = 0;
    private static final Duration CANCEL_LIMIT = Duration.ofSeconds(10);

    private final QemuVm vm;
    private final ImageFolder image;
    private final Stage stage;
    private final FileCloner cloner;
    private final FaultPoints faults;
    private final int pipe;
    private final int wake;
    private final FileChannel ram;
    private final int ramFd;
    private final QmpClient.Call migrate;
    private final CompletableFuture<Long> armed = new CompletableFuture<>();
    private final CountDownLatch flowing = new CountDownLatch(1);
    private final CountDownLatch writing = new CountDownLatch(1);
    /** Null where QEMU alone serves a guest that writes. */
    private final CopyOnWrite copies;

    private final CompletableFuture<Void> disks = new CompletableFuture<>();
    private final CompletableFuture<Void> written = new CompletableFuture<>();
    private final Thread reader;
    private final Thread writer;
    private volatile CompletableFuture<String> migrationEnd;
    private volatile boolean complete;
    private volatile boolean serving;
    private volatile long streamNanos;

    // Guarded by this.
    private boolean begun;
    private boolean closed;

    private QemuSnapshot(
            QemuVm vm,
            ImageFolder image,
            StagePool pool,
            FileCloner cloner,
            FaultPoints faults,
            List<QemuBlocks.Block> blocks,
            int pipe,
            int wake,
            FileChannel ram,
            int ramFd)
            throws AgentException {
        this.faults = faults;
        this.migrate = vm.qmp().call("migrate", QmpClient.arguments().put("uri", "fd:" + FD_NAME));
        this.vm = vm;
        this.image = image;
        this.stage = new Stage(pool);
        this.cloner = cloner;
        this.pipe = pipe;
        this.wake = wake;
        this.ram = ram;
        this.ramFd = ramFd;
        this.copies = CopyOnWrite.prepare(vm, blocks, stage, this::copiesEnded);
        this.reader =
                Thread.ofPlatform().daemon().name("snap-read-" + vm.name()).unstarted(this::read);
        this.writer =
                Thread.ofPlatform().daemon().name("snap-write-" + vm.name()).unstarted(this::write);
    }

    static QemuSnapshot prepare(QemuVm vm, ImageFolder image, StagePool pool, FileCloner cloner, FaultPoints faults)
            throws AgentException {
        int[] pipe = {-1, -1};
        int wake = -1;
        FileChannel ram = null;
        int ramFd = -1;
        boolean done = false;
        boolean passed = false;
        try {
            VmRecord r = vm.vmRecord();
            image.describe(r.qemu(), r.nics(), r.disks());
            for (String name : Set.of(ImageFolder.KERNEL, ImageFolder.INITRD, ImageFolder.FIRMWARE)) {
                if (Files.exists(vm.folder().resolve(name))) {
                    boolean ignored = cloner.copy(
                            vm.folder().resolve(name), image.folder().resolve(name));
                    force(image.folder().resolve(name));
                    image.digest(name);
                }
            }
            ram = image.create(ImageFolder.RAM);
            ramFd = Native.open(image.folder().resolve(ImageFolder.RAM), O_RDONLY, 0);
            vm.capabilities(true);
            vm.qmp()
                    .execute(
                            "migrate-set-parameters",
                            QmpClient.arguments().put("max-bandwidth", MAX_BANDWIDTH),
                            vm.settings().commandLimit());
            vm.threads().learn();
            QemuMemory.touch(vm.pid(), r.spec().memoryBytes());
            List<QemuBlocks.Block> blocks =
                    QemuBlocks.ask(vm.qmp(), vm.settings().commandLimit());
            pipe = Native.pipe(PIPE_WAITING);
            wake = Native.eventfd();
            faults.reachIo(FaultPoint.PREPARE_FILES);
            vm.qmp().passFd(pipe[1], FD_NAME, vm.settings().commandLimit());
            passed = true;
            faults.reachIo(FaultPoint.PREPARE_PASSED);
            var snapshot = new QemuSnapshot(vm, image, pool, cloner, faults, blocks, pipe[0], wake, ram, ramFd);
            snapshot.reader.start();
            snapshot.writer.start();
            done = true;
            return snapshot;
        } catch (QmpException e) {
            throw vm.failure("preparing the snapshot of " + vm.name() + " failed: " + e.getMessage(), e);
        } catch (IOException e) {
            throw ImageFolder.failed("preparing the image in " + image.folder() + " failed", e);
        } finally {
            Native.close(pipe[1]);
            if (!done) {
                if (passed) {
                    takeBack(vm);
                }
                Native.close(pipe[0]);
                Native.close(wake);
                Native.close(ramFd);
                closeQuietly(ram);
            }
        }
    }

    /** QEMU is to close its end of a stream that is not used. */
    private static void takeBack(QemuVm vm) {
        try {
            vm.forgetStream();
        } catch (IOException e) {
            LOG.infof("event=snapshot-cancel vm=%s result=\"%s\"", vm.name(), e.getMessage());
        }
    }

    @Override
    public void begin() throws AgentException {
        synchronized (this) {
            if (begun || closed) {
                throw new IllegalStateException("a snapshot is used once");
            }
            begun = true;
            migrationEnd = vm.expectMigrationEnd();
        }
        var unused = vm.qmp().send(migrate).whenComplete((answer, e) -> {
            if (e != null) {
                armed.completeExceptionally(e);
                stage.end(e instanceof IOException io ? io : new IOException(e));
            }
        });
        if (vm.vmRecord().disks().stream().noneMatch(QemuSnapshot::scratch)) {
            disks.complete(null);
            return;
        }
        Thread.ofPlatform().daemon().name("snap-disk-" + vm.name()).start(() -> {
            try {
                for (MachineFile.Disk d : vm.vmRecord().disks()) {
                    if (scratch(d)) {
                        boolean ignored = cloner.copy(
                                vm.folder().resolve(d.file()), image.folder().resolve(d.file()));
                    }
                }
                disks.complete(null);
            } catch (IOException | RuntimeException e) {
                disks.completeExceptionally(e);
            }
        });
    }

    private static boolean scratch(MachineFile.Disk d) {
        return d.mode().equals("scratch");
    }

    @Override
    public long awaitArmed(Duration limit) throws AgentException {
        long deadline = System.nanoTime() + limit.toNanos();
        long micros = await(armed, limit, "armed");
        await(disks, Duration.ofNanos(Math.max(0, deadline - System.nanoTime())), "copying the scratch disks");
        return micros;
    }

    @Override
    public void awaitComplete(Duration limit) throws AgentException {
        long deadline = System.nanoTime() + limit.toNanos();
        writeBehind();
        await(written, limit, "complete");
        String end = await(
                migrationEnd, Duration.ofNanos(Math.max(0, deadline - System.nanoTime())), "reported as completed");
        if (!end.equals("completed")) {
            throw vm.failure("QEMU's snapshot of " + vm.name() + " ended as " + end + vm.migrationError(), null);
        }
        complete = true;
        close();
    }

    private <T> T await(CompletableFuture<T> future, Duration limit, String what) throws AgentException {
        try {
            return future.get(limit.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            throw new AgentException(
                    ErrorCode.QEMU_FAILED,
                    "the snapshot of " + vm.name() + " was not " + what + " within " + limit.toMillis() + " ms",
                    "try again when the host has less to do; huge pages make it shorter",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new AgentException(ErrorCode.INTERRUPTED, "the snapshot of " + vm.name() + " was interrupted", "", e);
        } catch (ExecutionException e) {
            throw failed(e.getCause());
        }
    }

    private AgentException failed(Throwable cause) {
        String of = "the snapshot of " + vm.name() + " failed: ";
        if (cause instanceof QmpException q) {
            return vm.failure(of + q.getMessage(), q);
        }
        CompletableFuture<String> end = migrationEnd;
        if (cause instanceof StreamException s) {
            // Mostly QEMU gave up or died and the stream is short: then that is the better reason.
            String how = end == null
                    ? ""
                    : end.completeOnTimeout("", 500, TimeUnit.MILLISECONDS).join();
            if (how.equals("failed") || how.equals("gone")) {
                return vm.failure(of + s.getMessage() + vm.migrationError(), s);
            }
            return new AgentException(
                    ErrorCode.STREAM_BROKEN,
                    of + s.getMessage(),
                    "take another checkpoint; if it happens again, report it with QEMU's version",
                    s);
        }
        return ImageFolder.failed("the snapshot of " + vm.name() + " failed in " + image.folder(), cause);
    }

    private void read() {
        IOException failure = null;
        Native.hurry();
        try {
            if (taste()) {
                faults.reachIo(FaultPoint.WRITE_STREAM);
                int ignored =
                        Native.lib().hf_pipe_size(pipe, free() ? PIPE_ROOM : PIPE_FLOWING); // refused: only slower
                swallow();
            }
        } catch (IOException e) {
            failure = e;
        } catch (InterruptedException e) {
            failure = new IOException("interrupted", e);
        } catch (RuntimeException | Error e) {
            failure = new IOException(e);
        } finally {
            Native.close(pipe); // QEMU gets EPIPE if it still writes
            stage.end(failure);
        }
    }

    /** Reads until the snapshot is armed, and little more; then waits. False when the stream has ended. */
    private boolean taste() throws IOException, InterruptedException {
        for (int left = TASTE; left > 0 && !armed.isDone(); ) {
            int n = take(left);
            if (n == 0) {
                return false;
            }
            left -= n;
        }
        serving = copies != null && copies.begin();
        vm.threads().armed(free() ? NICE_STREAM : 0);
        flowing.await();
        return true;
    }

    /**
     * Reads all. A QEMU's snapshot thread takes all the processor time that it gets as long as its stream moves, and a guest that
     * waits for a page waits for that thread: where more streams flow than there is room for, each is taken at a pace.
     */
    private void swallow() throws IOException, InterruptedException {
        long began = System.nanoTime();
        AtomicInteger streams = stage.pool().streams();
        streams.incrementAndGet();
        boolean urgent = !free();
        if (!urgent) {
            Native.nice(0, NICE_STREAM);
        }
        try {
            for (int n = 1; n > 0; ) {
                if (!urgent && !serving) { // guests wait for the stream from now on
                    Native.hurry();
                    urgent = true;
                }
                int beside = streams.get() - StagePool.ROOM;
                n = take(beside > 0 ? SIP : StagePool.SEGMENT);
                if (beside > 0) {
                    LockSupport.parkNanos(beside * PACE_NANOS);
                }
            }
        } finally {
            streams.decrementAndGet();
            streamNanos = System.nanoTime() - began;
        }
    }

    /** Whether nobody waits for the stream, nor for the processors that it takes. */
    private boolean free() {
        return serving && stage.pool().roomForAll();
    }

    /** Reads once; 0 at the end of the stream or when given up. */
    private int take(int most) throws IOException, InterruptedException {
        if (!NativeBuffers.awaitReadable(pipe, wake) || stage.room() == null) {
            return 0;
        }
        int n = (int) Native.read(pipe, stage.roomAddress(), Math.min(most, stage.roomBytes()), -1);
        if (n > 0) {
            stage.filled(n);
        }
        return n;
    }

    /**
     * The VM is about to run: the stream must move from now on, because QEMU writes to guest memory itself when it runs a VM and stands
     * while the stream does, unless pages are kept before they are written: then the stream waits until all VMs run. Idempotent, never waits.
     */
    void flow() {
        if (!serving) {
            flowing.countDown();
        }
    }

    private void copiesEnded() {
        serving = false;
        flowing.countDown();
    }

    @Override
    public void writeBehind() {
        flowing.countDown();
        writing.countDown();
    }

    private void write() {
        var pages = new RamWriter(ram, () -> armed.complete(Native.micros()), () -> {
            int ignored = Native.lib().hf_writeback(ramFd); // refused: only slower
        });
        var parser = new StreamParser(pages, vm.vmRecord().spec().memoryBytes() + OTHER_BLOCKS);
        try {
            Native.hurry();
            boolean behind = false;
            for (ByteBuffer b = stage.next(); b != null; b = stage.next()) {
                if (behind) {
                    faults.reachIo(FaultPoint.WRITE_PAGES);
                }
                parser.feed(b);
                if (behind) {
                    keep(pages);
                }
                if (armed.isDone() && !behind) {
                    writing.await();
                    vm.threads().calmAll();
                    Native.nice(0, free() ? NICE_WRITER : NICE_LAST);
                    if (!serving) { // guests wait for the stream: it has the processor first
                        stage.awaitHalfFullOrEnd();
                    }
                    behind = true;
                }
            }
            if (copies != null) {
                copies.end();
                keep(pages);
            }
            faults.reachIo(FaultPoint.WRITE_FSYNC);
            DevicesFile devices = pages.finish(parser.end());
            faults.reachIo(FaultPoint.WRITE_DEVICES);
            disks.get();
            for (MachineFile.Disk d : vm.vmRecord().disks()) {
                if (scratch(d)) {
                    force(image.folder().resolve(d.file()));
                }
            }
            image.captured(armed.join(), pages, devices);
            reader.join();
            took(parser.consumed(), pages.dataBytes());
            written.complete(null);
        } catch (ExecutionException e) {
            fail(e.getCause());
        } catch (IOException | InterruptedException | RuntimeException | Error e) {
            fail(e);
        } finally {
            Native.close(ramFd);
            closeQuietly(ram);
            writeBehind();
            stage.giveUp(); // a reader that still works has nothing to read for
            try {
                Native.signal(wake);
                reader.join();
                if (copies != null) {
                    copies.end();
                    copies.close();
                }
            } catch (IOException | InterruptedException e) {
                LOG.errorf(e, "event=snapshot-reader-stays vm=%s", vm.name());
            }
            stage.release();
            Native.close(wake);
        }
    }

    /** Takes what was kept of pages that the guest wrote to. */
    private void keep(RamWriter pages) throws IOException {
        for (CopyOnWrite.Copy c = stage.nextCopy(); c != null; c = stage.nextCopy()) {
            try {
                if (c.bytes() > 0) {
                    pages.keep(c.block(), c.offset(), c.content());
                }
            } finally {
                if (c.last()) {
                    stage.pool().give(c.segment());
                }
            }
        }
    }

    private void took(long stream, long data) {
        var took = new VmImage.Capture(
                streamNanos / 1000,
                (copies == null ? stage.stalledNanos() : copies.stalledNanos()) / 1000,
                Native.micros() - armed.join(),
                copies == null ? 0 : copies.copiedBytes());
        image.took(took);
        LOG.infof(
                "event=snapshot-written vm=%s checkpoint=%s stream=%d data=%d stream-micros=%d stalled-micros=%d durable-micros=%d copied=%d",
                vm.name(),
                image.checkpoint(),
                stream,
                data,
                took.streamMicros(),
                took.stalledMicros(),
                took.durableMicros(),
                took.copiedBytes());
        if (took.stalledMicros() > 0) {
            LOG.warnf(
                    "event=stage-full vm=%s checkpoint=%s stalled-micros=%d remedy=\"raise holdfast.agent.stage-bytes: a guest"
                            + " that wrote to a page not taken yet waited for the disk\"",
                    vm.name(), image.checkpoint(), took.stalledMicros());
        }
    }

    private void fail(Throwable e) {
        armed.completeExceptionally(e);
        written.completeExceptionally(e);
    }

    private static void force(Path file) throws IOException {
        try (FileChannel c = FileChannel.open(file, StandardOpenOption.WRITE)) {
            c.force(true);
        }
    }

    @Override
    public void close() {
        boolean cancel;
        boolean unused;
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            vm.snapshotClosed(this);
            cancel = begun && !complete;
            unused = !begun;
        }
        disks.completeExceptionally(new IOException("the snapshot was given up"));
        stage.giveUp();
        writeBehind();
        try {
            if (unused) {
                takeBack(vm);
            } else if (cancel) {
                vm.qmp().execute("migrate_cancel", null, vm.settings().commandLimit());
            }
        } catch (IOException | AgentException e) {
            LOG.infof("event=snapshot-cancel vm=%s result=\"%s\"", vm.name(), e.getMessage());
        }
        try {
            writer.join();
            if (cancel) {
                awaitCancelled();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void awaitCancelled() {
        try {
            String end = migrationEnd.get(CANCEL_LIMIT.toNanos(), TimeUnit.NANOSECONDS);
            LOG.infof("event=snapshot-cancelled vm=%s status=%s", vm.name(), end);
        } catch (TimeoutException e) {
            LOG.errorf("event=snapshot-cancel-late vm=%s", vm.name());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (ExecutionException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void closeQuietly(FileChannel c) {
        try {
            if (c != null) {
                c.close();
            }
        } catch (IOException e) {
            LOG.errorf(e, "event=close-failed");
        }
    }
}
