package io.holdfast.agent.qemu;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jboss.logging.Logger;

/**
 * The threads of a QEMU process, and who of them comes first on the host's processors.
 *
 * <p>While a cut is taken every VM of the network stands until the last of them is armed, so whatever else wants the processors waits: QEMU's
 * own threads (the one that reads QMP, the main thread, and the snapshot thread, which inherits from it, until it is armed), and behind
 * them the vCPUs until they have stopped, are put before all ordinary threads. Names are QEMU's with
 * {@code debug-threads=on} (util/qemu-thread-posix.c, accel/*, migration/migration.c).
 *
 * <p>Thread-safe. Without the right to it nothing happens, and cuts are slower on a busy host.
 */
final class QemuThreads {
    private static final Logger LOG = Logger.getLogger(QemuThreads.class);

    /** QEMU's own threads stop the vCPUs: one that never rests must not keep them from that. */
    private static final int OWN = 2;

    private static final int VCPU = 1;

    private final long pid;
    private volatile int[] own = {};
    private volatile int[] vcpus = {};

    QemuThreads(long pid) {
        this.pid = pid;
    }

    /** Before a cut, which is not to look for them: learns the threads. */
    void learn() throws IOException {
        Map<Boolean, List<Path>> byKind =
                tasks().stream().collect(Collectors.partitioningBy(t -> name(t).startsWith("CPU ")));
        own = ids(byKind.get(false));
        vcpus = ids(byKind.get(true));
    }

    /** The VM is to be stopped. */
    void hurry() {
        rank(own, OWN);
        rank(vcpus, VCPU);
    }

    /** The VM has stopped; its vCPUs will not run before {@link #calm}. */
    void stopped() {
        rank(vcpus, 0);
    }

    /** The VM runs, or will not be cut. */
    void calm() {
        rank(own, 0);
        rank(vcpus, 0);
    }

    private static void rank(int[] threads, int rank) {
        for (int t : threads) {
            Native.urgent(t, rank);
        }
    }

    /**
     * The snapshot is armed, its thread goes on among the ordinary ones: before them it would take a processor for itself as long as its
     * stream flows, and guests would feel that more than they feel waiting for it.
     *
     * @param nice how much of the time that they share it gets
     */
    void armed(int nice) {
        forEach(t -> name(t).contains("snapshot"), t -> Native.nice(t, nice));
    }

    /** Every thread, also those that were made meanwhile. Not for hot paths. */
    void calmAll() {
        forEach(t -> true, t -> Native.urgent(t, 0));
    }

    private void forEach(Predicate<Path> which, IntConsumer action) {
        try {
            tasks().stream().filter(which).mapToInt(QemuThreads::id).forEach(action);
        } catch (IOException e) {
            LOG.debugf("event=threads-gone pid=%d", pid);
        }
    }

    private List<Path> tasks() throws IOException {
        try (Stream<Path> all = Files.list(Path.of("/proc/" + pid + "/task"))) {
            return all.toList();
        }
    }

    private static int[] ids(List<Path> tasks) {
        return tasks.stream().mapToInt(QemuThreads::id).toArray();
    }

    private static int id(Path task) {
        return Integer.parseInt(task.getFileName().toString());
    }

    private static String name(Path task) {
        try {
            return Files.readString(task.resolve("comm")).strip();
        } catch (IOException e) {
            return ""; // it has just ended
        }
    }
}
