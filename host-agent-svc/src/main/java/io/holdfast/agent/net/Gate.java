package io.holdfast.agent.net;

import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.nat.Errno;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import io.holdfast.agent.nat.NativeLib;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import jnr.ffi.Memory;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import org.jboss.logging.Logger;

/**
 * A NIC's TAP whose inbound frames can be diverted to a second TAP, the hold TAP, that we read.
 *
 * <p>A BPF program on the TAP's TCX egress hook shares counters and a state with us (native/src/gate.c). Closing is one store to memory.
 * Frames are counted before the program reads the state, and a TAP counts tx_packets when its reader has read the frame, so counters
 * prove what polling can only guess (design.md, mechanisms).
 *
 * <p>Opening keeps the order of frames strictly: while <em>opening</em>, the program lets a frame through only if every frame held
 * so far has been given back (a source faster than that for seconds keeps the gate from settling: then order is given up); at the moment when that is so and no frame is undecided, nothing can be held any more, and
 * the gate is set open.
 *
 * <p>Not thread-safe but for {@link #release}: one thread at a time, which {@link HostNetwork} and the cut see to.
 */
public final class Gate {
    private static final Logger LOG = Logger.getLogger(Gate.class);
    private static final int OPEN = 0;
    private static final int CLOSED = 1;
    private static final int OPENING = 2;
    /** The largest frame with its header. */
    private static final int ROOM = 12 + 65536 + 64;
    /** How long a frame that is given back waits for room in the TAP's ring, in microseconds. */
    private static final long PATIENCE = 500_000;
    /** After that, order is given up for an end of the opening. */
    private static final long OPENING_LIMIT_NANOS = 3_000_000_000L;

    private final String name;
    private final NativeLib lib = Native.lib();
    private final int tap;
    private final int hold;
    private final int map;
    private final int link;
    private final int rtnl;
    private final int out;
    private final int tapIndex;
    private final int holdIndex;
    private final long shared;
    private final Pointer buffer = Memory.allocateDirect(Runtime.getSystemRuntime(), ROOM);
    private final long[] counters = new long[9];
    private final long[] links = new long[2];
    private final long[] gave = new long[5];

    private long txBase;
    private long dropBase;
    /** Data frames and cookies read from the hold TAP. */
    private long dataTaken;

    private long cookiesTaken;
    /** Held frames that are lost. */
    private long holdLost;
    /** Those of them that the hold TAP dropped; the others were read and could not be given back. */
    private long neverRead;
    /** Held frames given back, and such lost: what the program compares with held. */
    private long given;
    /** Frames that came from an image, not from the wire. */
    private long restored;
    /** Sends that the TAP's ring refused and that were tried again: it counted them as dropped. */
    private long retries;
    /** Frames that we took out of the TAP's ring of a NIC that is asleep, and those of them given back. */
    private long salvaged;

    private long salvagedGiven;
    /** Frames larger than the TAP's MTU, dropped instead of given back: no other counter has them. */
    private long oversized;

    private long asleepAt = -1;
    /** The TAP's ring stayed full in this opening: the guest takes nothing, nothing more is waited for. */
    private boolean stuck;

    /** The first frame that could not be given in this opening. */
    private NativeException failed;

    private boolean released;

    private Gate(String name, int tap, int hold, int[] mapAndLink, int rtnl, int out, int tapIndex, int holdIndex)
            throws NativeException {
        this.name = name;
        this.tap = tap;
        this.hold = hold;
        this.map = mapAndLink[0];
        this.link = mapAndLink[1];
        this.rtnl = rtnl;
        this.out = out;
        this.tapIndex = tapIndex;
        this.holdIndex = holdIndex;
        long[] address = new long[1];
        Native.check(lib.hf_gate_map(map, address), "map the gate's counters");
        this.shared = address[0];
    }

    /**
     * Puts a gate on a TAP. Takes the two descriptors over; when it fails they are closed.
     *
     * @param tap descriptor of the TAP
     * @param hold descriptor of the hold TAP
     */
    static Gate attach(int netns, String name, int tap, String tapName, int hold, String holdName, boolean closed)
            throws NativeException {
        var lib = Native.lib();
        int rtnl = -1;
        int out = -1;
        int[] mapAndLink = {-1, -1};
        try {
            int tapIndex = Native.check(lib.hf_ifindex(netns, tapName), "interface " + tapName);
            int holdIndex = Native.check(lib.hf_ifindex(netns, holdName), "interface " + holdName);
            rtnl = Native.check(lib.hf_rtnl_open(netns), "netlink socket");
            out = Native.check(lib.hf_packet_open(netns, tapIndex, 0, 1, 0x5EED), "packet socket on " + tapName);
            Native.check(
                    lib.hf_gate_attach(netns, tapIndex, holdIndex, closed ? CLOSED : OPEN, mapAndLink),
                    "attach the gate to " + tapName + " (needs Linux 6.6 or newer with BPF TCX)");
            var gate = new Gate(name, tap, hold, mapAndLink, rtnl, out, tapIndex, holdIndex);
            gate.readLinks();
            gate.txBase = gate.links[0];
            gate.dropBase = gate.links[1];
            return gate;
        } catch (NativeException e) {
            for (int fd : new int[] {tap, hold, rtnl, out, mapAndLink[0], mapAndLink[1]}) {
                Native.close(fd);
            }
            throw e;
        }
    }

    /** The NIC, for messages. */
    public String name() {
        return name;
    }

    int tapFd() {
        return tap;
    }

    /** Readable when a frame is held. */
    public int holdFd() {
        return hold;
    }

    /** Nothing more reaches the guest from now on. */
    public void shut() {
        lib.hf_gate_set(shared, CLOSED);
    }

    /**
     * Frames of this nonce are cookies from now on, and stay so until the nonce after the next: peers repeat theirs for
     * a while.
     */
    public void expect(byte[] nonce) throws NativeException {
        dropHeldCookies();
        lib.hf_gate_nonce(shared, nonce);
    }

    private void dropHeldCookies() throws NativeException {
        if (state() == OPEN) {
            give(Integer.MAX_VALUE);
        }
    }

    private long state() {
        lib.hf_gate_read(shared, counters);
        return counters[0];
    }

    private void readLinks() throws NativeException {
        Native.check(lib.hf_link_counters(rtnl, tapIndex, links), "counters of " + name);
    }

    /** The TAP's counters first, then the program's: entered is read last, so the difference is never too small. */
    private long outstanding() throws NativeException {
        readLinks();
        lib.hf_gate_read(shared, counters);
        return counters[2] - counters[5] - (links[0] - txBase) - (links[1] - dropBase);
    }

    /** Data frames that the program has counted and not yet decided, of the counters last read. */
    private long undecided() {
        return counters[2] - counters[3] - counters[4] - counters[5];
    }

    /**
     * Whether QEMU has read every frame that passed. Exact when the gate is closed. A NIC that is asleep (see {@link #lookAsleep})
     * counts as delivered as long as QEMU reads nothing from it.
     */
    public boolean delivered() throws NativeException {
        long left = outstanding();
        if (waits(left)) {
            return asleepAt >= 0 && links[0] == asleepAt;
        }
        beginAnew(left);
        return true;
    }

    /** Whether something is not read yet. The count alone does not tell when frames were cut up before: see {@link #beginAnew}. */
    private boolean waits(long left) throws NativeException {
        return left > 0 || readable();
    }

    /**
     * Given that the ring is empty. A frame with segmentation offload for a guest that takes none is cut up behind the gate: more comes out
     * than went in. Count from here.
     */
    private void beginAnew(long left) {
        if (left < 0) {
            LOG.debugf("gate=%s surplus=%d", name, -left);
            txBase -= left;
        }
    }

    private boolean readable() throws NativeException {
        int[] events = {Native.POLLIN};
        return Native.poll(new int[] {tap}, events, 0) > 0;
    }

    /**
     * Finds out, with the gate open and no hurry, whether the guest takes frames at all: a guest that is still booting or has the
     * NIC down leaves them in the TAP. Waits up to that time for one to be taken.
     */
    public void lookAsleep(long patienceMicros) throws NativeException {
        asleepAt = -1;
        long until = System.nanoTime() + patienceMicros * 1000;
        long left = outstanding();
        long before = links[0];
        while (waits(left) && links[0] == before) {
            if (System.nanoTime() > until) {
                asleepAt = before;
                LOG.infof("gate=%s waiting=%d the guest takes no frames", name, left);
                return;
            }
            LockSupport.parkNanos(1_000_000);
            left = outstanding();
        }
    }

    /** Whether the guest has taken no frame since {@link #lookAsleep} found it asleep. */
    public boolean asleep() throws NativeException {
        if (asleepAt < 0) {
            return false;
        }
        readLinks();
        return links[0] == asleepAt;
    }

    /** Takes the frames that an asleep NIC has left in its TAP: they are in flight. Only while the VM is stopped. */
    public List<Frame> salvage() throws NativeException {
        var frames = new ArrayList<Frame>();
        int header = Native.check(lib.hf_tap_header(tap), "header of " + name);
        for (; ; ) {
            long n = lib.hf_read_now(tap, buffer.address(), ROOM);
            if (n == -Errno.EAGAIN) {
                break;
            }
            Native.check(n, "read " + name);
            if (n <= header) {
                continue;
            }
            byte[] data = new byte[Frame.VNET_HEADER + (int) n - header];
            buffer.get(0, data, 0, Math.min(header, Frame.VNET_HEADER));
            buffer.get(header, data, Frame.VNET_HEADER, (int) n - header);
            frames.add(new Frame(Native.micros(), data));
        }
        salvaged += frames.size();
        asleepAt = -1;
        beginAnew(outstanding());
        return frames;
    }

    /** What takes frames that were read. */
    @FunctionalInterface
    public interface Reader {
        /** A frame with its header, cookies as well. Returns whether it is a cookie. */
        boolean frame(byte[] data);
    }

    /** Reads what the hold TAP has. Never waits. */
    public void read(Reader reader) throws NativeException {
        for (; ; ) {
            long n = lib.hf_read_now(hold, buffer.address(), ROOM);
            if (n == -Errno.EAGAIN) {
                return;
            }
            Native.check(n, "read held frames of " + name);
            byte[] data = new byte[(int) n];
            buffer.get(0, data, 0, data.length);
            if (reader.frame(data)) {
                cookiesTaken++;
            } else {
                dataTaken++;
            }
        }
    }

    /** Frames that the full hold TAP has dropped since the gate was made, cookies as well. */
    public long overflow() throws NativeException {
        Native.check(lib.hf_link_counters(rtnl, holdIndex, links), "counters of the hold TAP of " + name);
        return links[1];
    }

    /** Whether every frame diverted so far has been read (or dropped), and none is undecided. */
    public boolean allRead() throws NativeException {
        long dropped = overflow();
        lib.hf_gate_read(shared, counters);
        return undecided() <= 0 && counters[5] + counters[7] <= dataTaken + cookiesTaken + dropped;
    }

    /** The counters at a moment, since the gate was made: entered = delivered + held + dropped. */
    public record Ledger(long entered, long delivered, long held, long dropped, long cookies) {
        /** Whether nothing is unaccounted for. */
        public boolean exact() {
            return entered == delivered + held + dropped;
        }
    }

    /** The ledger. Exact when the gate is closed, {@link #delivered} and {@link #allRead}. */
    public Ledger ledger() throws NativeException {
        readLinks();
        long tx = links[0] - txBase - salvaged;
        long dropped = links[1] - dropBase - retries;
        lib.hf_gate_read(shared, counters);
        long entered = counters[2] - counters[3] + restored;
        long lost = holdLost + (overflow() == 0 ? 0 : counters[5] - dataTaken - neverRead);
        long held = counters[5] - (given - holdLost) - lost + salvaged - salvagedGiven;
        return new Ledger(entered, tx, held, dropped + lost + oversized, counters[6]);
    }

    /** Frames of an image, for a gate that is closed: in front of everything it holds. */
    void restore(List<Frame> frames) throws NativeException {
        stuck = false;
        for (Frame f : frames) {
            send(f.data());
            restored++;
        }
    }

    /**
     * Opens the gate.
     *
     * @param first frames that were held (or salvaged) and read, in order
     */
    public void open(List<Frame> first) throws NativeException {
        failed = null;
        try {
            stuck = false;
            long pending = salvaged - salvagedGiven;
            for (Frame f : first) {
                try {
                    send(f.data());
                } catch (NativeException e) {
                    holdLost++; // that frame; the others are given all the same
                    failed = failed == null ? e : failed;
                }
                if (pending > 0) {
                    pending--;
                    salvagedGiven++;
                } else {
                    given++;
                }
            }
            lib.hf_gate_given(shared, given);
            lib.hf_gate_set(shared, OPENING);
            long begin = System.nanoTime();
            for (; ; ) {
                boolean empty = giveOn(2048);
                if (settled(empty)) {
                    break;
                }
                if (System.nanoTime() - begin > OPENING_LIMIT_NANOS) {
                    LOG.warnf("gate=%s frames come faster than they can be given back, their order may change", name);
                    break;
                }
            }
        } finally {
            lib.hf_gate_set(shared, OPEN);
        }
        // Cookies (and after the warning, frames) that were diverted up to now.
        long begin = System.nanoTime();
        do {
            boolean ignored = giveOn(Integer.MAX_VALUE);
        } while (!drained() && System.nanoTime() - begin < OPENING_LIMIT_NANOS);
        if (failed != null) {
            throw failed;
        }
    }

    /** Every held frame is given back and none is undecided: from now on none can be held. */
    private boolean settled(boolean empty) throws NativeException {
        lib.hf_gate_read(shared, counters);
        if (undecided() != 0) {
            return false;
        }
        if (counters[5] == given) {
            return true;
        }
        if (empty) {
            countLost();
        }
        return false;
    }

    private boolean drained() throws NativeException {
        lib.hf_gate_read(shared, counters);
        boolean cookiesDecided = counters[6] - counters[7] - counters[8] <= 0;
        if (undecided() <= 0 && cookiesDecided && counters[5] <= given && counters[7] <= cookiesTaken) {
            return true;
        }
        long dropped = overflow();
        return dropped > 0 && cookiesDecided && counters[5] + counters[7] <= dataTaken + cookiesTaken + dropped;
    }

    /** A full hold TAP has dropped frames: what is neither read nor on the hold TAP is lost. */
    private void countLost() throws NativeException {
        Native.check(lib.hf_link_counters(rtnl, holdIndex, links), "counters of the hold TAP of " + name);
        if (links[1] > 0 && links[0] + links[1] >= counters[5] + counters[7] && dataTaken + cookiesTaken == links[0]) {
            long lost = counters[5] - dataTaken - neverRead;
            if (lost > 0) {
                neverRead += lost;
                holdLost += lost;
                given += lost;
                lib.hf_gate_given(shared, given);
            }
        }
    }

    /** The same, and a frame that cannot be given keeps none behind it from being given: the first failure is kept. */
    private boolean giveOn(int max) {
        for (; ; ) {
            try {
                return give(max);
            } catch (NativeException e) {
                failed = failed == null ? e : failed;
                if (gave[0] + gave[1] == 0) {
                    return true; // nothing can be read
                }
            }
        }
    }

    /** Whether there was less than that. */
    private boolean give(int max) throws NativeException {
        int r = lib.hf_gate_give(shared, hold, out, max, stuck ? 0 : PATIENCE, gave);
        dataTaken += gave[0];
        given += gave[0];
        cookiesTaken += gave[1];
        retries += gave[2] - gave[3];
        oversized += gave[4];
        stuck |= gave[3] > 0;
        if (r < 0 && gave[0] > 0) {
            holdLost++; // the last one read
            lib.hf_gate_given(shared, given);
        }
        Native.check(r, "give back held frames of " + name);
        return gave[0] + gave[1] < max;
    }

    private void send(byte[] data) throws NativeException {
        long until = 0;
        for (; ; ) {
            long r = lib.hf_inject(out, data, data.length);
            if (r >= 0) {
                return;
            }
            if (r == -Errno.EMSGSIZE) {
                oversized++;
                return;
            }
            if (r != -Errno.ENOBUFS && r != -Errno.EAGAIN) {
                Native.check(r, "give a frame to " + name);
            }
            long now = System.nanoTime();
            if (until == 0) {
                until = now + PATIENCE * 1000;
            }
            if (stuck || now > until) {
                stuck = true;
                return; // the ring stays full: dropped, as it would have been without us
            }
            retries++;
            LockSupport.parkNanos(50_000);
        }
    }

    /** Lets go of everything; the gate opens by itself, the hold TAP goes away. Idempotent. */
    synchronized void release() {
        if (released) {
            return;
        }
        released = true;
        int ignored = lib.hf_gate_unmap(shared);
        for (int fd : new int[] {link, map, out, rtnl, hold, tap}) {
            Native.close(fd);
        }
    }

    /**
     * For a TAP taken over from an earlier agent: waits until QEMU has read what is in its ring, counts from there and opens. When the
     * guest takes no frames, counts from what there is.
     */
    void adoptCounters(long patienceMicros) throws NativeException {
        long until = System.nanoTime() + patienceMicros * 1000;
        long seen = -1;
        for (; ; ) {
            readLinks();
            if (!readable() && links[0] == seen) {
                break;
            }
            if (System.nanoTime() > until) {
                LOG.infof("gate=%s the guest takes no frames; counting from here", name);
                break;
            }
            seen = links[0];
            LockSupport.parkNanos(500_000);
        }
        readLinks();
        txBase = links[0];
        dropBase = links[1];
        open(List.of());
    }
}
