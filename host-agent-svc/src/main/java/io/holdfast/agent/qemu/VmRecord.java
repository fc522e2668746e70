package io.holdfast.agent.qemu;

import io.holdfast.agent.image.FileIo;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * {@code vm.json} in a VM's folder: by it a restarted agent finds the VM. Written with pid 0 before QEMU is started.
 *
 * @param version of this file's form
 * @param bootId the host's boot id when it was started
 * @param pid QEMU's process, 0 while it is being started
 * @param startTime of that process in clock ticks since boot ({@code /proc/PID/stat}), so that a reused pid is not mistaken for it
 * @param taps descriptor numbers of the NICs' TAPs in QEMU
 */
record VmRecord(
        int version,
        String instance,
        VmSpec spec,
        String bootId,
        long pid,
        long startTime,
        List<Integer> taps,
        List<MachineFile.Nic> nics,
        List<MachineFile.Disk> disks,
        MachineFile.Qemu qemu) {
    static final String FILE = "vm.json";
    static final int VERSION = 1;

    VmRecord {
        taps = List.copyOf(taps);
        nics = List.copyOf(nics);
        disks = List.copyOf(disks);
    }

    VmRecord started(long newPid, long newStartTime) {
        return new VmRecord(version, instance, spec, bootId, newPid, newStartTime, taps, nics, disks, qemu);
    }

    void write(Path folder) throws IOException {
        FileIo.writeAtomically(
                folder.resolve(FILE),
                EventCodec.json().writerWithDefaultPrettyPrinter().writeValueAsBytes(this));
    }

    static VmRecord read(Path folder) throws IOException {
        VmRecord r = EventCodec.json().readValue(folder.resolve(FILE).toFile(), VmRecord.class);
        if (r.version() != VERSION) {
            throw new IOException(
                    folder.resolve(FILE) + " has version " + r.version() + ", only " + VERSION + " is known");
        }
        return r;
    }

    /** The host's boot id. */
    static String hostBootId() throws IOException {
        return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
    }

    /** Start time of a process in clock ticks since boot, or -1 when there is none or it has ended. */
    static long startTime(long pid) {
        try {
            String stat =
                    new String(Files.readAllBytes(Path.of("/proc/" + pid + "/stat")), StandardCharsets.ISO_8859_1);
            // The command may hold anything; fields are counted after its closing parenthesis: state is the third.
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
            return fields[0].equals("Z") || fields[0].equals("X") ? -1 : Long.parseLong(fields[19]);
        } catch (IOException | RuntimeException e) {
            return -1;
        }
    }
}
