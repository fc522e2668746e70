package io.holdfast.agent.domain;

import java.util.List;

/**
 * The part of an instance's network that is on this host.
 *
 * @param instance name of the instance
 * @param host this host's id
 * @param underlay this host's underlay address
 * @param segments every segment that a local VM joins
 * @param nics every NIC of the local VMs
 */
public record NetworkPlan(
        String instance, String host, String underlay, List<SegmentPlan> segments, List<NicPlan> nics) {
    public NetworkPlan {
        segments = List.copyOf(segments);
        nics = List.copyOf(nics);
    }

    /** A segment with the other hosts that have VMs on it; only those exchange frames and cookies with this host. */
    public record SegmentPlan(String name, int mtu, int vni, List<Peer> peers) {
        public SegmentPlan {
            peers = List.copyOf(peers);
        }
    }

    /** Another host on a segment. */
    public record Peer(String host, String underlay) {}

    /** A NIC of a local VM. */
    public record NicPlan(NicId id, String segment, String mac) {}
}
