package io.holdfast.agent.qemu;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jboss.logging.Logger;

/**
 * A guest's RAM in its QEMU's address space. Stateless.
 *
 * <p>To arm a snapshot QEMU reads a byte of every page. Where this host is itself a virtual machine, the hypervisor below takes pages' mappings away
 * from time to time, and the next to touch them waits: some 45 µs for 2 MiB were seen, 25 ms for 1 GiB. Who touches them shortly before the
 * cut waits in its place, while the VM runs.
 */
final class QemuMemory {
    private static final Logger LOG = Logger.getLogger(QemuMemory.class);
    /** What hypervisors map at once, if they can. */
    private static final long STEP = 2 << 20;
    /** {@code FROM-TO PERMISSIONS ...}, see proc(5). */
    private static final Pattern MAPPING = Pattern.compile("([0-9a-f]+)-([0-9a-f]+) rw.*");

    private QemuMemory() {}

    /** Touches it all. When that cannot be done the cut may be slower, no more. */
    static void touch(long pid, long ramBytes) {
        try {
            long from = 0;
            long bytes = Long.MAX_VALUE;
            for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/maps"))) {
                Matcher m = MAPPING.matcher(line);
                if (m.matches()) {
                    long start = Long.parseUnsignedLong(m.group(1), 16);
                    long size = Long.parseUnsignedLong(m.group(2), 16) - start;
                    if (size >= ramBytes && size < bytes) { // a neighbour may have become one with it
                        from = start;
                        bytes = size;
                    }
                }
            }
            if (from != 0) {
                Native.touch((int) pid, from, from + bytes, STEP);
            }
        } catch (IOException e) {
            LOG.debugf("event=memory-not-touched pid=%d reason=\"%s\"", pid, e.getMessage());
        }
    }
}
