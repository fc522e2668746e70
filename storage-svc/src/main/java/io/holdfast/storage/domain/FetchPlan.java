package io.holdfast.storage.domain;

import io.holdfast.storage.domain.ChunkIndex.Place;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Which ranges of which packs to read for a set of chunks: near chunks of a pack in one read, so that a restore is not
 * bound by the latency of the bucket.
 */
public final class FetchPlan {
    /** Where a chunk goes. */
    public record Target(ChunkId id, Place place, int file, long offset, int length) {}

    /** One read; its targets ascend by their place in the pack. */
    public record Fetch(ChunkId pack, int offset, int length, List<Target> targets) {}

    private FetchPlan() {}

    /**
     * Plans.
     *
     * @param targets everything that is wanted, in any order; the list is sorted in place
     * @param gapBytes bytes that are read for nothing rather than asking twice
     * @param maxBytes the most bytes of one read
     */
    public static List<Fetch> of(List<Target> targets, int gapBytes, int maxBytes) {
        targets.sort(Comparator.comparing((Target t) -> t.place().pack())
                .thenComparingInt(t -> t.place().offset()));
        List<Fetch> plan = new ArrayList<>();
        int from = 0;
        while (from < targets.size()) {
            Place first = targets.get(from).place();
            int end = first.offset() + first.storedBytes();
            int to = from + 1;
            while (to < targets.size()) {
                Place p = targets.get(to).place();
                int pEnd = Math.max(end, p.offset() + p.storedBytes());
                if (!p.pack().equals(first.pack()) || p.offset() - end > gapBytes || pEnd - first.offset() > maxBytes) {
                    break;
                }
                end = pEnd;
                to++;
            }
            plan.add(new Fetch(
                    first.pack(), first.offset(), end - first.offset(), List.copyOf(targets.subList(from, to))));
            from = to;
        }
        return plan;
    }
}
