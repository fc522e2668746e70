package io.holdfast.schemas.spec;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Fills in every default of a valid spec, so that the services only ever see complete ones. What stays null is what is
 * not there: firmware or kernel, initrd, cmdline, a disk's file or size. Normalising twice changes nothing.
 */
public final class SpecNormalizer {
    /** What {@code q35} stands for: the same machine on every QEMU from 9.0 on. */
    public static final String Q35 = "pc-q35-9.0";
    /** The CPU model that every QEMU and accelerator offers alike. */
    public static final String CPU = "qemu64";

    private SpecNormalizer() {}

    /** The complete spec. NICs without a MAC get one derived from the names of network and VM and the NIC's index. */
    public static NetworkSpec normalize(NetworkSpec spec) {
        Set<String> taken = new HashSet<>();
        spec.vms().forEach(vm -> vm.nics().forEach(nic -> {
            if (nic.mac() != null) {
                taken.add(lower(nic.mac()));
            }
        }));
        List<SegmentSpec> segments = spec.segments().stream()
                .map(s -> new SegmentSpec(s.name(), or(s.mtu(), SegmentSpec.DEFAULT_MTU)))
                .toList();
        List<VmSpec> vms =
                spec.vms().stream().map(vm -> vm(spec.name(), vm, taken)).toList();
        return new NetworkSpec(spec.name(), segments, vms, spec.placement());
    }

    private static VmSpec vm(String network, VmSpec vm, Set<String> taken) {
        List<NicSpec> nics = new ArrayList<>();
        for (NicSpec nic : vm.nics()) {
            String mac = nic.mac() == null ? Macs.derive(network, vm.name(), nics.size(), taken) : lower(nic.mac());
            taken.add(mac);
            nics.add(new NicSpec(nic.segment(), mac));
        }
        return new VmSpec(
                vm.name(),
                or(vm.vcpus(), 1),
                vm.memory(),
                or(vm.hugepages(), Hugepages.auto),
                or(vm.cpu(), CPU),
                vm.machine() == null || vm.machine().equals("q35") ? Q35 : vm.machine(),
                or(vm.accelerator(), Accelerator.auto),
                vm.firmware(),
                vm.kernel(),
                vm.initrd(),
                vm.cmdline(),
                vm.disks(),
                nics,
                or(vm.console(), true));
    }

    private static String lower(String mac) {
        String normal = Macs.normal(mac);
        if (normal == null) {
            throw new IllegalArgumentException("not a MAC address: " + Names.quote(mac));
        }
        return normal;
    }

    private static <T> T or(T value, T fallback) {
        return value == null ? fallback : value;
    }
}
