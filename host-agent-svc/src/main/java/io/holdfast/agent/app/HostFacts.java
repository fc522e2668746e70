package io.holdfast.agent.app;

import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.VmState;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import org.jboss.logging.Logger;

/** What the host has, from {@code /proc} and {@code /sys} (proc(5)). Never throws: what cannot be read is 0. */
final class HostFacts {
    private static final Logger LOG = Logger.getLogger(HostFacts.class);
    private final Path proc;
    private final Path sys;

    HostFacts(Path proc, Path sys) {
        this.proc = proc;
        this.sys = sys;
    }

    /**
     * Memory of the host.
     *
     * @param totalBytes MemTotal
     * @param freeBytes MemAvailable less what running VMs may still take of their RAM
     * @param hugepagesFree free 2 MiB pages
     */
    record Memory(long totalBytes, long freeBytes, long hugepagesFree) {}

    Memory memory(Collection<Instance> instances) {
        long total = 0;
        long available = 0;
        try {
            for (String line : Files.readAllLines(proc.resolve("meminfo"))) {
                if (line.startsWith("MemTotal:")) {
                    total = kib(line);
                } else if (line.startsWith("MemAvailable:")) {
                    available = kib(line);
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.debugf(e, "event=meminfo-unreadable");
        }
        for (Instance instance : instances) {
            for (Vm vm : instance.present()) {
                VmState s = vm.state();
                if (s.pid() > 0 && !s.hugepages()) {
                    long ram = instance.layout.spec().vm(vm.name()).memoryBytes();
                    available -= Math.max(0, ram - resident(s.pid()));
                }
            }
        }
        return new Memory(total, Math.max(0, available), hugepagesFree());
    }

    private long resident(long pid) {
        try {
            for (String line :
                    Files.readAllLines(proc.resolve(Long.toString(pid)).resolve("status"))) {
                if (line.startsWith("VmRSS:")) {
                    return kib(line);
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.debugf(e, "event=process-status-unreadable pid=%d", pid);
        }
        return 0;
    }

    private long hugepagesFree() {
        try {
            return Long.parseLong(Files.readString(sys.resolve("kernel/mm/hugepages/hugepages-2048kB/free_hugepages"))
                    .trim());
        } catch (IOException | RuntimeException e) {
            return 0;
        }
    }

    /** Value in bytes of a line such as {@code MemTotal:  16384 kB}. */
    private static long kib(String line) {
        return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
    }
}
