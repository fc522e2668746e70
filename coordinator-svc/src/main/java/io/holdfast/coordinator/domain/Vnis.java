package io.holdfast.coordinator.domain;

import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/** Chooses VXLAN network identifiers. Pure. */
final class Vnis {
    private Vnis() {}

    /**
     * A set for a new instance: each the hash of operation and segment, or the next free one. Hashed, so that a number
     * just given back (and perhaps not yet removed from a host that is away) is unlikely to come next.
     *
     * @throws IllegalStateException if the range is used up
     */
    static SortedMap<String, Integer> choose(
            String operation, NetworkSpec spec, Set<Integer> used, int first, int last) {
        var taken = new TreeSet<>(used);
        var chosen = new TreeMap<String, Integer>();
        int range = last - first + 1;
        for (SegmentSpec segment : spec.segments()) {
            long hash =
                    Long.parseLong(Ids.sha256(operation + "\n" + segment.name()).substring(0, 12), 16);
            int start = (int) (hash % range);
            int tries = 0;
            while (!taken.add(first + (start + tries) % range)) {
                if (++tries == range) {
                    throw new IllegalStateException("all VNIs from " + first + " to " + last + " are in use");
                }
            }
            chosen.put(segment.name(), first + (start + tries) % range);
        }
        return chosen;
    }
}
