package io.holdfast.agent.net;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import io.holdfast.schemas.event.ErrorCode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/** An instance's network on this host, held by descriptors: the namespace, a gate per NIC, a cookie socket per segment's bridge. */
public final class HostNetwork implements InstanceNetwork {
    /** Frames of an image go into a TAP's ring (4000 frames) before the VM runs, as far as they fit with room to spare. */
    private static final int FIT = 3000;

    private final NetworkPlan plan;
    private final int netns;
    private final Map<NicId, Gate> gates;
    private final Map<String, Integer> ports;
    private final Map<NicId, List<Frame>> waiting = new LinkedHashMap<>();
    private final Map<NicId, Integer> injected = new LinkedHashMap<>();
    private final ReentrantLock gateLock = new ReentrantLock();
    private final Object portLock = new Object();
    private boolean closed;

    HostNetwork(NetworkPlan plan, int netns, Map<NicId, Gate> gates, Map<String, Integer> ports) {
        this.plan = plan;
        this.netns = netns;
        this.gates = gates;
        this.ports = ports;
    }

    @Override
    public NetworkPlan plan() {
        return plan;
    }

    @Override
    public int namespaceFd() {
        return netns;
    }

    @Override
    public int tapFd(NicId nic) {
        return gate(nic).tapFd();
    }

    /** The gate of a NIC. Use it only while {@link #gateLock} is held. */
    public Gate gate(NicId nic) {
        var gate = gates.get(nic);
        if (gate == null) {
            throw new IllegalArgumentException("no NIC " + nic + " here");
        }
        return gate;
    }

    /** Held by whoever works with the gates. */
    public ReentrantLock gateLock() {
        return gateLock;
    }

    /** Sends a frame from a segment's bridge. Does nothing once closed. */
    public void send(String segment, byte[] frame) throws NativeException {
        synchronized (portLock) {
            if (!closed) {
                Native.check(
                        Native.lib().hf_packet_send(ports.get(segment), frame, frame.length),
                        "send a cookie on segment " + segment);
            }
        }
    }

    @Override
    public void inject(NicId nic, List<Frame> frames) throws AgentException {
        gateLock.lock();
        try {
            var gate = gate(nic);
            int before = injected.getOrDefault(nic, 0);
            int now = waiting.containsKey(nic) ? 0 : Math.min(frames.size(), FIT - before);
            gate.restore(frames.subList(0, now));
            injected.put(nic, before + now);
            if (now < frames.size()) {
                waiting.computeIfAbsent(nic, n -> new java.util.ArrayList<>())
                        .addAll(frames.subList(now, frames.size()));
            }
        } catch (NativeException e) {
            throw failed("cannot give frames in flight to " + nic, e);
        } finally {
            gateLock.unlock();
        }
    }

    @Override
    public void openGates() throws AgentException {
        gateLock.lock();
        try {
            NativeException first = null;
            for (var e : gates.entrySet()) {
                try {
                    var frames = waiting.remove(e.getKey());
                    if (frames != null) {
                        e.getValue().restore(frames);
                    }
                    e.getValue().open(List.of());
                } catch (NativeException x) {
                    first = first == null ? x : first;
                }
            }
            injected.clear();
            if (first != null) {
                throw failed("cannot open all gates", first);
            }
        } finally {
            gateLock.unlock();
        }
    }

    static AgentException failed(String what, Exception e) {
        return new AgentException(
                ErrorCode.NETWORK_FAILED,
                what + ": " + e.getMessage(),
                "see the agent's log; `ip netns`, `ip -d link` show what is there",
                e);
    }

    /** Also waits for a cut at work. */
    @Override
    public void close() {
        gateLock.lock();
        try {
            synchronized (portLock) {
                if (closed) {
                    return;
                }
                closed = true;
                ports.values().forEach(Native::close);
                gates.values().forEach(Gate::release);
                Native.close(netns);
            }
        } finally {
            gateLock.unlock();
        }
    }
}
