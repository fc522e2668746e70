package io.holdfast.agent.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.image.FileCloner;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.nat.Native;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmState;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.jboss.logging.Logger;

/**
 * A QEMU process that this agent started or took over.
 *
 * <p>Threads: all methods may be called from any thread. The QMP reader thread keeps the state by events; when QMP ends it waits for the
 * process's end and then the VM is dead for good. {@code state}, {@code tapFd} and {@code pid} never block.
 */
final class QemuVm implements Vm {
    private static final Logger LOG = Logger.getLogger(QemuVm.class);
    private static final Set<String> ENDED = Set.of("completed", "failed", "cancelled");
    private static final int KILL_MILLIS = 30_000;
    private static final String STOP = "stop";
    private static final String CONT = "cont";

    private final VmRecord vmRecord;
    private final Path folder;
    private final QemuSettings settings;
    private final StagePool stage;
    private final FileCloner cloner;
    private final QemuThreads threads;
    private final FaultPoints faults;
    private final long logFrom;
    private final CompletableFuture<Void> died = new CompletableFuture<>();

    private volatile QmpClient qmp;
    private volatile String state;
    private volatile String reason;
    private volatile String shutdown;
    private volatile boolean detached;
    private volatile boolean qmpGone;
    private volatile CompletableFuture<QmpClient.Answer> stopping;
    private volatile CompletableFuture<QmpClient.Answer> starting;
    private volatile QemuSnapshot snapshot;
    private final Map<String, QmpClient.Call> readyCalls = new ConcurrentHashMap<>();
    private volatile CompletableFuture<String> migrationEnd = new CompletableFuture<>();

    // Guarded by this.
    private int pidfd;

    /** A VM whose process is alive; {@link #connect} comes next. */
    QemuVm(
            VmRecord vmRecord,
            Path folder,
            int pidfd,
            long logFrom,
            QemuSettings settings,
            StagePool stage,
            FileCloner cloner,
            FaultPoints faults) {
        this.faults = faults;
        this.vmRecord = vmRecord;
        this.folder = folder;
        this.pidfd = pidfd;
        this.logFrom = logFrom;
        this.settings = settings;
        this.stage = stage;
        this.cloner = cloner;
        this.threads = new QemuThreads(vmRecord.pid());
        this.state = "incoming";
    }

    /** A VM whose process has ended. */
    static QemuVm dead(VmRecord vmRecord, Path folder, QemuSettings settings, String why) {
        var vm = new QemuVm(vmRecord, folder, -1, 0, settings, new StagePool(0), FileCloner.plain(), FaultPoints.OFF);
        vm.state = "dead";
        vm.reason = why;
        vm.died.complete(null);
        return vm;
    }

    /** Connects QMP and learns the state. */
    void connect(Duration limit) throws IOException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (true) {
            // An attempt that QEMU had no time to greet ends, too: that says nothing of the one that follows.
            var inUse = new AtomicBoolean();
            try {
                qmp = QmpClient.connect(
                        vmRecord.instance() + "." + name(),
                        folder.resolve(QemuCommand.QMP_SOCKET),
                        Duration.ofMillis(200),
                        this::event,
                        () -> {
                            if (inUse.get()) {
                                qmpEnded();
                            }
                        });
                inUse.set(true); // has it ended by now, the next command says so
                break;
            } catch (IOException e) {
                if (processEnded(0) || System.nanoTime() > deadline) {
                    throw e;
                }
            }
        }
        status(qmp.execute("query-status", null, settings.commandLimit()));
        threads.calmAll(); // an agent that ended in a cut may have left them in a hurry
    }

    private void status(JsonNode answer) {
        String s = answer.path("status").asText();
        state = switch (s) {
            case "running" -> "running";
            case "inmigrate" -> "incoming";
            default -> "paused";
        };
    }

    /** The end of a stream that an agent which died has passed to QEMU and not used: QEMU keeps it. */
    void forgetStream() throws IOException {
        try {
            var closed = qmp.execute(
                    "closefd", QmpClient.arguments().put("fdname", QemuSnapshot.FD_NAME), settings.commandLimit());
            LOG.infof("event=stream-forgotten vm=%s answer=%s", name(), closed);
        } catch (QmpException e) {
            if (e.kind() != QmpException.Kind.REFUSED) { // it has none: as it should be
                throw e;
            }
        }
    }

    private void event(JsonNode e) {
        switch (e.path("event").asText()) {
            case "STOP" -> state = "paused";
            case "RESUME" -> state = "running";
            case "SHUTDOWN" -> shutdown = e.path("data").path("reason").asText();
            case "MIGRATION" -> {
                String s = e.path("data").path("status").asText();
                if (ENDED.contains(s)) {
                    migrationEnd.complete(s);
                }
            }
            default -> LOG.tracef("event=qmp-event vm=%s data=%s", name(), e);
        }
    }

    /** On the QMP reader's thread, its last act. */
    private void qmpEnded() {
        qmpGone = true;
        migrationEnd.complete("gone");
        if (detached || qmp == null) {
            return;
        }
        processEnded(-1);
    }

    /** Whether the process has ended; waits so long (milliseconds, negative for ever). Notes it. */
    private boolean processEnded(int millis) {
        int fd;
        synchronized (this) {
            if (pidfd < 0) {
                return died.isDone();
            }
            try {
                fd = Native.dup(pidfd);
            } catch (IOException e) {
                LOG.errorf(e, "event=pidfd-failed vm=%s", name());
                return false;
            }
        }
        try {
            if (!Native.pidfdWait(fd, millis)) {
                return false;
            }
            int exit = Native.pidfdReap(fd);
            synchronized (this) {
                if (!died.isDone()) {
                    reason = why(exit);
                    state = "dead";
                    died.complete(null);
                    LOG.infof("event=vm-ended vm=%s pid=%d reason=\"%s\"", name(), vmRecord.pid(), reason);
                }
            }
            return true;
        } catch (IOException e) {
            LOG.errorf(e, "event=pidfd-failed vm=%s", name());
            return false;
        } finally {
            Native.close(fd);
        }
    }

    private String why(int exit) {
        var text = new StringBuilder("QEMU ended");
        if (exit > 128) {
            text.append(" by signal ").append(exit - 128);
        } else if (exit >= 0) {
            text.append(" with status ").append(exit);
        }
        if (shutdown != null) {
            text.append(", ").append(shutdown);
        }
        String log = LogTail.of(folder.resolve(QemuHypervisor.LOG), logFrom);
        if (!log.isEmpty()) {
            text.append("; its log ends: ").append(log);
        }
        return text.toString();
    }

    @Override
    public String name() {
        return vmRecord.spec().name();
    }

    @Override
    public long pid() {
        return vmRecord.pid();
    }

    @Override
    public VmState state() {
        String now = state;
        boolean dead = now.equals("dead");
        return new VmState(
                name(),
                now,
                dead ? 0 : vmRecord.pid(),
                vmRecord.qemu().accelerator(),
                vmRecord.qemu().hugepages(),
                vmRecord.qemu().version(),
                dead ? reason : null);
    }

    @Override
    public int tapFd(int nic) {
        return nic >= 0 && nic < vmRecord.taps().size() ? vmRecord.taps().get(nic) : -1;
    }

    @Override
    public void beginStop() throws AgentException {
        threads.hurry();
        stopping = qmp().send(ready(STOP));
    }

    @Override
    public long awaitStopped(Duration limit) throws AgentException {
        CompletableFuture<QmpClient.Answer> answer = stopping;
        if (answer == null) {
            throw new IllegalStateException("stop was not begun");
        }
        try {
            long micros = QmpClient.await(answer, limit, "stop").micros();
            state = "paused";
            return micros;
        } catch (QmpException e) {
            throw failure("stopping " + name() + " failed: " + e.getMessage(), e);
        } finally {
            threads.stopped();
        }
    }

    @Override
    public void beginCont() throws AgentException {
        QemuSnapshot open = snapshot;
        if (open != null) {
            open.flow();
        }
        starting = qmp().send(ready(CONT));
    }

    @Override
    public long awaitRunning(Duration limit) throws AgentException {
        CompletableFuture<QmpClient.Answer> answer = starting;
        if (answer == null) {
            throw new IllegalStateException("cont was not begun");
        }
        try {
            // The RESUME event comes before the answer; a VM that has ended at once must stay dead.
            return QmpClient.await(answer, limit, "cont").micros();
        } catch (QmpException e) {
            throw failure("running " + name() + " failed: " + e.getMessage(), e);
        } finally {
            threads.calm();
        }
    }

    /** What a cut says to QEMU is written before it. */
    private QmpClient.Call ready(String command) throws AgentException {
        QmpClient.Call call = readyCalls.remove(command);
        return call != null ? call : qmp().call(command, null);
    }

    private void makeReady() throws AgentException {
        readyCalls.put(STOP, qmp().call(STOP, null));
        readyCalls.put(CONT, qmp().call(CONT, null));
    }

    @Override
    public Snapshot prepareSnapshot(Image image) throws AgentException {
        makeReady();
        QemuSnapshot prepared = QemuSnapshot.prepare(this, ImageFolder.of(image), stage, cloner, faults);
        snapshot = prepared;
        return prepared;
    }

    @Override
    public void load(Image image) throws AgentException {
        new PrecopyFeed(settings.loadLimit()).feed(this, ImageFolder.of(image));
    }

    @Override
    public void kill() {
        int fd;
        synchronized (this) {
            fd = pidfd;
            if (fd >= 0) {
                try {
                    Native.pidfdSignal(fd, Native.SIGKILL);
                } catch (IOException e) {
                    LOG.errorf(e, "event=kill-failed vm=%s pid=%d", name(), vmRecord.pid());
                }
            }
        }
        if (fd >= 0 && !processEnded(KILL_MILLIS)) {
            LOG.errorf("event=kill-late vm=%s pid=%d", name(), vmRecord.pid());
        }
        letGo();
    }

    @Override
    public void detach() {
        detached = true;
        letGo();
    }

    private void letGo() {
        QmpClient q = qmp;
        if (q != null) {
            q.close();
        }
        synchronized (this) {
            Native.close(pidfd);
            pidfd = -1;
        }
    }

    // For this package.

    /** A descriptor of our own to the userfaultfd that QEMU has while a snapshot is taken; the caller's to close. */
    synchronized int userfaultfd() throws IOException {
        return Native.check(Native.lib().hf_uffd_of((int) pid(), pidfd), "userfaultfd of " + name());
    }

    /** The snapshot needs nothing more of this VM. */
    void snapshotClosed(QemuSnapshot of) {
        if (snapshot == of) {
            snapshot = null;
        }
    }

    QmpClient qmp() throws AgentException {
        QmpClient q = qmp;
        if (q == null || state.equals("dead")) {
            throw failure("VM " + name() + " does not run", null);
        }
        return q;
    }

    QemuThreads threads() {
        return threads;
    }

    QemuSettings settings() {
        return settings;
    }

    VmRecord vmRecord() {
        return vmRecord;
    }

    Path folder() {
        return folder;
    }

    /** A failure of QEMU, or of a VM that has ended. */
    AgentException failure(String message, IOException cause) {
        boolean closed = cause instanceof QmpException q && q.kind() == QmpException.Kind.CLOSED;
        // QMP ends a moment before the process is seen to have ended.
        boolean ignored = processEnded(closed || qmpGone ? 1000 : 0);
        if (state.equals("dead")) {
            return new AgentException(
                    ErrorCode.VM_DEAD,
                    message + " (" + reason + ")",
                    "destroy the instance or restore a checkpoint",
                    cause);
        }
        return new AgentException(
                closed || qmpGone ? ErrorCode.VM_DEAD : ErrorCode.QEMU_FAILED,
                message,
                "see " + folder.resolve(QemuHypervisor.LOG),
                cause);
    }

    /** Switches MIGRATION events on. */
    void migrationEvents() throws IOException, AgentException {
        capabilities(false);
    }

    /** Sets what a snapshot or a restart needs. */
    void capabilities(boolean backgroundSnapshot) throws IOException, AgentException {
        ObjectNode arguments = QmpClient.arguments();
        ArrayNode list = arguments.putArray("capabilities");
        list.addObject().put("capability", "events").put("state", true);
        list.addObject().put("capability", "background-snapshot").put("state", backgroundSnapshot);
        qmp().execute("migrate-set-capabilities", arguments, settings.commandLimit());
    }

    /** Completed with completed, failed, cancelled or gone at the end of the migration that begins next. */
    CompletableFuture<String> expectMigrationEnd() {
        var end = new CompletableFuture<String>();
        migrationEnd = end;
        if (state.equals("dead") || qmpGone) {
            end.complete("gone");
        }
        return end;
    }

    /** What QEMU says of a failed migration, with a colon before, or nothing. */
    String migrationError() {
        try {
            String text = qmp().execute("query-migrate", null, settings.commandLimit())
                    .path("error-desc")
                    .asText();
            return text.isEmpty() ? "" : ": " + text;
        } catch (IOException | AgentException e) {
            String log = LogTail.of(folder.resolve(QemuHypervisor.LOG), logFrom);
            return log.isEmpty() ? "" : ": " + log;
        }
    }

    String migrationStatus() throws IOException, AgentException {
        return qmp().execute("query-migrate", null, settings.commandLimit())
                .path("status")
                .asText("none");
    }

    /** Waits for a run state; there is no event for the end of an incoming migration's last step. */
    void awaitStatus(String wanted, Duration limit) throws IOException, AgentException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (true) {
            JsonNode answer = qmp().execute("query-status", null, limit);
            if (answer.path("status").asText().equals(wanted)) {
                status(answer);
                return;
            }
            if (System.nanoTime() > deadline) {
                throw new QmpException(
                        QmpException.Kind.TIMEOUT,
                        "status is " + answer.path("status").asText() + ", not " + wanted);
            }
            LockSupport.parkNanos(500_000);
        }
    }
}
