package io.holdfast.agent.qemu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.RamBlock;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.spec.VmSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * QEMU's command line for a VM. Pure. Everything that the guest sees has an explicit id and address, so that the same spec gives the same
 * machine on every host and at every restart. Paths of the VM's own files are relative: QEMU's working folder is the VM's folder.
 *
 * @param instance name of the instance
 * @param spec the VM, complete
 * @param accelerator kvm or tcg
 * @param hugepages whether RAM is 2 MiB huge pages
 * @param incoming wait for an image
 * @param nics NICs in order
 * @param disks disks in order
 * @param consoleFd the pipe of its console in QEMU, or -1: a file
 */
record QemuCommand(
        String instance,
        VmSpec spec,
        String accelerator,
        boolean hugepages,
        boolean incoming,
        List<Nic> nics,
        List<Disk> disks,
        int consoleFd) {
    static final String QMP_SOCKET = "qmp.sock";
    static final String CONSOLE = "console.log";

    /** NICs have PCI slots 2 to 15, disks 16 to 29; 0, 1 and from 30 on are q35's own. */
    static final int FIRST_NIC_SLOT = 0x02;

    static final int FIRST_DISK_SLOT = 0x10;
    static final int MAX_DEVICES = 14;

    /**
     * A NIC.
     *
     * @param fd its TAP in QEMU
     */
    record Nic(int fd, String mac, int mtu) {}

    /**
     * A disk.
     *
     * @param file raw file, relative to the VM's folder or absolute
     */
    record Disk(String file, boolean readOnly) {}

    QemuCommand {
        nics = List.copyOf(nics);
        disks = List.copyOf(disks);
        if (nics.size() > MAX_DEVICES || disks.size() > MAX_DEVICES) {
            throw new IllegalArgumentException("a VM can have " + MAX_DEVICES + " NICs and " + MAX_DEVICES + " disks, "
                    + spec.name() + " has " + nics.size() + " and " + disks.size());
        }
    }

    boolean microvm() {
        return spec.machine().startsWith("microvm");
    }

    /** The arguments, beginning with the program's name. */
    List<String> arguments() {
        List<String> a = new ArrayList<>();
        add(a, "qemu-system-x86_64");
        add(a, "-name", "guest=" + instance + "." + spec.name() + ",debug-threads=on");
        add(a, "-nodefaults");
        add(a, "-no-user-config");
        add(a, "-display", "none");
        add(a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        add(a, "-machine", machine());
        add(a, "-accel", accelerator);
        add(a, "-cpu", spec.cpu());
        int n = spec.vcpus();
        add(a, "-smp", "cpus=" + n + ",maxcpus=" + n + ",sockets=1,cores=" + n + ",threads=1");
        add(a, "-m", "size=" + (spec.memoryBytes() >> 20) + "M");
        add(a, "-object", ram());
        add(a, "-rtc", "base=utc,clock=host");
        add(a, "-chardev", "socket,id=qmp,path=" + QMP_SOCKET + ",server=on,wait=off");
        add(a, "-mon", "chardev=qmp,mode=control");
        if (spec.console() && consoleFd >= 0) {
            add(a, "-add-fd", "fd=" + consoleFd + ",set=1");
            add(a, "-chardev", "file,id=console,path=/dev/fdset/1,append=on");
        } else if (spec.console()) {
            add(a, "-chardev", "file,id=console,path=" + CONSOLE + ",append=on");
        } else {
            add(a, "-chardev", "null,id=console");
        }
        add(a, "-serial", "chardev:console");
        if (spec.firmware() != null) {
            add(a, "-bios", ImageFolder.FIRMWARE);
        }
        if (spec.kernel() != null) {
            add(a, "-kernel", ImageFolder.KERNEL);
        }
        if (spec.initrd() != null) {
            add(a, "-initrd", ImageFolder.INITRD);
        }
        if (spec.kernel() != null && spec.cmdline() != null) {
            add(a, "-append", spec.cmdline());
        }
        for (int i = 0; i < nics.size(); i++) {
            Nic nic = nics.get(i);
            add(a, "-netdev", "tap,id=net" + i + ",fd=" + nic.fd() + ",vhost=off");
            add(
                    a,
                    "-device",
                    "virtio-net-pci,id=nic" + i + ",netdev=net" + i + ",mac=" + nic.mac() + ",host_mtu=" + nic.mtu()
                            + ",mq=off,romfile=,disable-legacy=on," + slot(FIRST_NIC_SLOT + i));
        }
        for (int i = 0; i < disks.size(); i++) {
            add(a, "-blockdev", blockdev(i, disks.get(i)));
            add(
                    a,
                    "-device",
                    "virtio-blk-pci,id=disk" + i + ",drive=drive" + i + ",disable-legacy=on,"
                            + slot(FIRST_DISK_SLOT + i));
        }
        if (incoming) {
            add(a, "-S", "-incoming", "defer");
        }
        return a;
    }

    private String machine() {
        String common = ",memory-backend=" + RamBlock.MAIN + ",dump-guest-core=off,mem-merge=off";
        if (microvm()) {
            return spec.machine() + common + ",acpi=on,pcie=on,rtc=on,isa-serial=on,usb=off";
        }
        return spec.machine() + common + ",usb=off,vmport=off,graphics=off";
    }

    private String ram() {
        String size = ",id=" + RamBlock.MAIN + ",size=" + (spec.memoryBytes() >> 20) + "M,share=off";
        return hugepages
                ? "memory-backend-memfd" + size + ",hugetlb=on,hugetlbsize=2M,prealloc=on"
                : "memory-backend-ram" + size;
    }

    private static String slot(int n) {
        return "bus=pcie.0,addr=" + String.format(Locale.ROOT, "0x%02x.0", n);
    }

    private static String blockdev(int i, Disk disk) {
        ObjectNode cache =
                EventCodec.json().createObjectNode().put("direct", false).put("no-flush", false);
        ObjectNode file = EventCodec.json()
                .createObjectNode()
                .put("driver", "file")
                .put("node-name", "file" + i)
                .put("filename", disk.file())
                .put("aio", "threads")
                .put("read-only", disk.readOnly());
        file.set("cache", cache);
        ObjectNode raw = EventCodec.json()
                .createObjectNode()
                .put("driver", "raw")
                .put("node-name", "drive" + i)
                .put("read-only", disk.readOnly())
                .put("discard", disk.readOnly() ? "ignore" : "unmap");
        raw.set("file", file);
        return raw.toString();
    }

    private static void add(List<String> to, String... words) {
        to.addAll(List.of(words));
    }
}
