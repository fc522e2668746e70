package io.holdfast.e2e;

import io.holdfast.cli.Api;
import io.holdfast.schemas.view.InstanceView;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Watches the guests of a {@link RingNet} by their consoles, and says what is wrong with them. */
public final class RingWatch {
    private final Lab lab;
    private final Api api;
    private final Chain chain = new Chain();

    public RingWatch(Lab lab, Api api) {
        this.lab = lab;
        this.api = api;
    }

    /** The consoles of an instance's VMs, by VM. */
    public Map<String, Console> consoles(String instance) {
        InstanceView view =
                api.instance(instance).orElseThrow(() -> new IllegalStateException("no instance " + instance));
        Map<String, Console> all = new LinkedHashMap<>();
        view.vms().stream()
                .sorted(java.util.Comparator.comparing(InstanceView.VmView::vm))
                .forEach(v -> all.put(v.vm(), Console.read(lab.console(v.host(), instance, v.vm()))));
        return all;
    }

    /**
     * Waits until the ring and the datagrams of every VM have gone on by so much, counted from what is there now, or
     * from the first line of a console that is empty now.
     *
     * @param laps more laps than now at every VM
     * @param datagrams more datagrams than now at every VM, of each stream that comes there; bulk streams go on by a line
     * @throws IllegalStateException when a guest reports a fault, a hash is not the chain's, or nothing goes on for so long
     */
    public Map<String, Console> awaitProgress(String instance, int laps, int datagrams, Duration limit) {
        Map<String, Console> before = consoles(instance);
        int vms = before.size();
        List<String> behind = new ArrayList<>();
        Map<String, Console> now = new LinkedHashMap<>();
        Await.until(() -> instance + " goes on: " + String.join("; ", behind), limit, () -> {
            now.putAll(consoles(instance));
            List<String> faults = faults(now);
            if (!faults.isEmpty()) {
                throw new IllegalStateException(instance + ": " + String.join("; ", faults));
            }
            behind.clear();
            now.forEach((vm, c) -> {
                Console b = before.get(vm);
                long wantedCount = (b.ring().isEmpty() ? firstCount(c) : count(b)) + (long) laps * vms;
                if (laps > 0 && count(c) < wantedCount) {
                    behind.add(vm + ": ring at " + count(c) + ", not yet at " + wantedCount);
                }
                if (datagrams > 0) {
                    behind.addAll(behind(vm, b, c, datagrams));
                }
            });
            return behind.isEmpty();
        });
        return now;
    }

    private static List<String> behind(String vm, Console before, Console now, int datagrams) {
        List<String> behind = new ArrayList<>();
        if (now.received().isEmpty()) {
            behind.add(vm + ": no datagrams yet");
        }
        Map<Integer, Console.Received> from = now.firstByPort();
        from.putAll(before.lastByPort());
        now.lastByPort().forEach((port, r) -> {
            long wanted = from.get(port).got() + datagrams;
            if (r.got() < wanted) {
                behind.add(vm + ": " + r.got() + " datagrams of port " + port + ", not yet " + wanted);
            }
        });
        Map<Integer, Long> bytes = now.firstBulk();
        bytes.putAll(before.lastBulk());
        now.lastBulk().forEach((port, got) -> {
            if (got <= bytes.get(port)) {
                behind.add(vm + ": the bulk stream of port " + port + " stays at " + got);
            }
        });
        return behind;
    }

    /**
     * What is wrong: a line that must not be there, a count with a hash that is not the chain's, a count that went back,
     * datagrams lost, repeated or reordered. Empty when all is well.
     */
    public List<String> faults(Map<String, Console> consoles) {
        List<String> faults = new ArrayList<>();
        consoles.forEach((vm, c) -> {
            c.faults().stream().limit(3).forEach(f -> faults.add(vm + ": " + f));
            long last = -1;
            for (Console.Ring r : c.ring()) {
                if (!r.hash().equals(chain.hash(r.count()))) {
                    faults.add(vm + ": the hash of count " + r.count() + " is " + r.hash() + ", must be "
                            + chain.hash(r.count()));
                }
                if (r.count() <= last) {
                    faults.add(vm + ": the ring went from " + last + " to " + r.count());
                }
                last = r.count();
            }
            c.lastByPort().values().stream().filter(r -> !r.clean()).forEach(r -> faults.add(vm + ": " + r));
        });
        return faults;
    }

    /**
     * What is wrong with a restart: beyond {@link #faults}, every VM must go on from where the checkpoint was, not from
     * before it and not from after it.
     *
     * @param before consoles just before the checkpoint was asked for
     * @param after consoles just after it was done
     * @param restarted consoles of the restarted instance
     */
    public List<String> restartFaults(
            Map<String, Console> before, Map<String, Console> after, Map<String, Console> restarted) {
        List<String> faults = new ArrayList<>(faults(restarted));
        int vms = restarted.size();
        restarted.forEach((vm, c) -> {
            long low = count(before.get(vm));
            // The consoles after the checkpoint lag by at most one line; the first line of the restart by half a
            // second.
            long high = count(after.get(vm)) + 200L * vms;
            long ring = c.firstRing().map(Console.Ring::count).orElse(-1L);
            if (ring < low || ring > high) {
                faults.add(vm + ": the restarted ring begins at " + ring + ", the checkpoint was between " + low
                        + " and " + high);
            }
            Map<Integer, Console.Received> first = c.firstByPort();
            before.get(vm).lastByPort().forEach((port, r) -> {
                if (first.containsKey(port) && first.get(port).last() < r.last()) {
                    faults.add(vm + ": the restarted datagrams of port " + port + " begin before the checkpoint");
                }
            });
            Map<Integer, Long> bytes = c.firstBulk();
            before.get(vm).lastBulk().forEach((port, got) -> {
                if (bytes.containsKey(port) && bytes.get(port) < got) {
                    faults.add(vm + ": the restarted bulk stream of port " + port + " begins before the checkpoint");
                }
            });
        });
        return faults;
    }

    private static long count(Console c) {
        return c == null ? 0 : c.lastRing().map(Console.Ring::count).orElse(0L);
    }

    private static long firstCount(Console c) {
        return c.firstRing().map(Console.Ring::count).orElse(0L);
    }
}
