package io.holdfast.agent.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.VmSpec;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class QemuCommandTest {
    private static VmSpec spec(String machine, String kernel) {
        return new VmSpec(
                "web",
                2,
                "256MiB",
                Hugepages.auto,
                "qemu64",
                machine,
                Accelerator.auto,
                null,
                kernel,
                kernel,
                "console=ttyS0 a,b",
                List.of(),
                List.of(),
                true);
    }

    private static List<String> arguments(String machine, boolean huge, boolean incoming) {
        return new QemuCommand(
                        "inst",
                        spec(machine, "/boot/vmlinuz"),
                        "tcg",
                        huge,
                        incoming,
                        List.of(
                                new QemuCommand.Nic(10, "52:54:00:00:00:01", 1450),
                                new QemuCommand.Nic(11, "52:54:00:00:00:02", 9000)),
                        List.of(
                                new QemuCommand.Disk("disk-data.raw", false),
                                new QemuCommand.Disk("/images/a,b.raw", true)),
                        9)
                .arguments();
    }

    private static String after(List<String> arguments, String option) {
        return arguments.get(arguments.indexOf(option) + 1);
    }

    @Test
    void givenAVmWhenBuiltThenEverythingHasItsIdAndAddress() {
        List<String> a = arguments("pc-q35-9.0", false, false);

        assertThat(after(a, "-machine")).startsWith("pc-q35-9.0,memory-backend=ram0");
        assertThat(after(a, "-object")).isEqualTo("memory-backend-ram,id=ram0,size=256M,share=off");
        assertThat(after(a, "-add-fd")).isEqualTo("fd=9,set=1");
        assertThat(a).contains("file,id=console,path=/dev/fdset/1,append=on");
        assertThat(after(a, "-sandbox"))
                .isEqualTo("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        assertThat(after(a, "-smp")).isEqualTo("cpus=2,maxcpus=2,sockets=1,cores=2,threads=1");
        assertThat(after(a, "-append")).isEqualTo("console=ttyS0 a,b");
        assertThat(a)
                .contains(
                        "-nodefaults",
                        "-no-user-config",
                        "tap,id=net0,fd=10,vhost=off",
                        "tap,id=net1,fd=11,vhost=off",
                        "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,host_mtu=1450,mq=off,romfile=,"
                                + "disable-legacy=on,bus=pcie.0,addr=0x02.0",
                        "virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:00:00:02,host_mtu=9000,mq=off,romfile=,"
                                + "disable-legacy=on,bus=pcie.0,addr=0x03.0",
                        "virtio-blk-pci,id=disk0,drive=drive0,disable-legacy=on,bus=pcie.0,addr=0x10.0",
                        "virtio-blk-pci,id=disk1,drive=drive1,disable-legacy=on,bus=pcie.0,addr=0x11.0")
                .anyMatch(s -> s.contains("\"filename\":\"/images/a,b.raw\"") && s.contains("\"read-only\":true"))
                .doesNotContain("-S", "-incoming", "-daemonize");
    }

    @Test
    void givenARestartWhenBuiltThenItDiffersOnlyInWaiting() {
        List<String> a = arguments("pc-q35-9.0", false, true);

        assertThat(a.subList(0, a.size() - 3)).isEqualTo(arguments("pc-q35-9.0", false, false));
        assertThat(a.subList(a.size() - 3, a.size())).containsExactly("-S", "-incoming", "defer");
    }

    @Test
    void givenHugePagesWhenBuiltThenRamIsPrivateAndPreallocated() {
        assertThat(after(arguments("pc-q35-9.0", true, false), "-object"))
                .isEqualTo("memory-backend-memfd,id=ram0,size=256M,share=off,hugetlb=on,hugetlbsize=2M,prealloc=on");
    }

    @Test
    void givenMicrovmWhenBuiltThenItHasAPciBus() {
        assertThat(after(arguments("microvm", false, false), "-machine"))
                .startsWith("microvm,")
                .contains("pcie=on");
    }

    @Test
    void givenMoreNicsThanSlotsWhenBuiltThenItIsRefused() {
        assertThatThrownBy(() -> new QemuCommand(
                        "inst",
                        spec("pc-q35-9.0", null),
                        "tcg",
                        false,
                        false,
                        Collections.nCopies(15, new QemuCommand.Nic(10, "52:54:00:00:00:01", 1450)),
                        List.of(),
                        -1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("14");
    }
}
