package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout.HostPart;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/** Chooses hosts for VMs. Pure: the same arguments give the same answer. */
public final class Placement {
    private Placement() {}

    /**
     * A host that may take VMs.
     *
     * @param underlay its address
     * @param freeBytes RAM that new VMs may take
     */
    public record Candidate(String host, String underlay, long freeBytes) {}

    /** An answer: parts when it fits, else problems. */
    public record Result(List<HostPart> parts, List<Problem> problems) {
        public Result {
            parts = List.copyOf(parts);
            problems = List.copyOf(problems);
        }
    }

    /**
     * Places every VM: wanted hosts first, then the biggest VM on the host with the most RAM left, and so on; ties go to
     * the host with fewer VMs, then by name.
     *
     * @param wanted VM name to host, for the VMs that must run there
     * @param candidates hosts that are alive
     * @param known hosts that were ever heard of, to tell gone from unknown
     * @param field JSON pointer of the wanted placement, for problems
     */
    public static Result place(
            NetworkSpec spec, Map<String, String> wanted, List<Candidate> candidates, Set<String> known, String field) {
        var problems = new ArrayList<Problem>();
        SortedMap<String, Candidate> hosts = new TreeMap<>();
        var left = new TreeMap<String, Long>();
        for (Candidate c : candidates) {
            hosts.put(c.host(), c);
            left.put(c.host(), c.freeBytes());
        }
        SortedMap<String, List<String>> placed = new TreeMap<>();
        for (var want : new TreeMap<>(wanted).entrySet()) {
            String at = field + "/" + want.getKey();
            if (spec.vms().stream().noneMatch(v -> v.name().equals(want.getKey()))) {
                problems.add(new Problem(
                        ErrorCode.INVALID_EVENT,
                        at,
                        "network " + spec.name() + " has no VM " + want.getKey(),
                        "name one of its VMs: "
                                + String.join(
                                        ", ",
                                        spec.vms().stream().map(VmSpec::name).toList())));
            } else if (!hosts.containsKey(want.getValue())) {
                problems.add(unavailable(want.getValue(), known, at));
            }
        }
        if (!problems.isEmpty()) {
            return new Result(List.of(), problems);
        }
        for (VmSpec vm : spec.vms()) {
            String host = wanted.get(vm.name());
            if (host != null && !take(vm, host, left, placed)) {
                problems.add(new Problem(
                        ErrorCode.NO_CAPACITY,
                        field + "/" + vm.name(),
                        "host " + host + " has " + mib(left.get(host)) + " MiB left, VM " + vm.name() + " needs "
                                + mib(vm.memoryBytes()),
                        "place it elsewhere, or free memory on the host"));
            }
        }
        var rest = spec.vms().stream()
                .filter(v -> !wanted.containsKey(v.name()))
                .sorted(Comparator.comparingLong(VmSpec::memoryBytes).reversed().thenComparing(VmSpec::name))
                .toList();
        for (VmSpec vm : rest) {
            var best = left.navigableKeySet().stream()
                    .max(Comparator.<String>comparingLong(left::get)
                            .thenComparingInt(
                                    h -> -placed.getOrDefault(h, List.of()).size())
                            .thenComparing(Comparator.reverseOrder()));
            if (best.isEmpty()) {
                problems.add(new Problem(
                        ErrorCode.HOST_UNAVAILABLE,
                        "",
                        "no host is alive",
                        "start the host agent and the storage service of a host"));
                break;
            }
            if (!take(vm, best.get(), left, placed)) {
                problems.add(new Problem(
                        ErrorCode.NO_CAPACITY,
                        "",
                        "no host has the " + mib(vm.memoryBytes()) + " MiB that VM " + vm.name()
                                + " needs; the most left is " + mib(left.get(best.get())) + " MiB on "
                                + best.get(),
                        "free memory, add a host, or ask for less"));
            }
        }
        if (!problems.isEmpty()) {
            return new Result(List.of(), problems);
        }
        // VMs in the order of the spec, whatever the order of placing
        var order = spec.vms().stream().map(VmSpec::name).toList();
        return new Result(
                placed.entrySet().stream()
                        .map(e -> new HostPart(
                                e.getKey(),
                                hosts.get(e.getKey()).underlay(),
                                e.getValue().stream()
                                        .sorted(Comparator.comparingInt(order::indexOf))
                                        .toList()))
                        .toList(),
                List.of());
    }

    private static boolean take(VmSpec vm, String host, Map<String, Long> left, Map<String, List<String>> placed) {
        long after = left.get(host) - vm.memoryBytes();
        if (after < 0) {
            return false;
        }
        left.put(host, after);
        placed.computeIfAbsent(host, h -> new ArrayList<>()).add(vm.name());
        return true;
    }

    static Problem unavailable(String host, Set<String> known, String field) {
        return new Problem(
                ErrorCode.HOST_UNAVAILABLE,
                field,
                known.contains(host)
                        ? "host " + host + " has not been heard of lately"
                        : "no host " + host + " is known",
                "start its host agent and storage service, or name another host");
    }

    private static long mib(long bytes) {
        return bytes >> 20;
    }
}
