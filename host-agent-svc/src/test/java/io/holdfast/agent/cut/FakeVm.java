package io.holdfast.agent.cut;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.nat.Errno;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.net.TestHosts;
import io.holdfast.schemas.event.VmState;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;

/** A guest on a TAP: sends numbered frames to a peer, expects numbered frames from it, stands still when stopped. */
final class FakeVm implements Vm, Vm.Snapshot, AutoCloseable {
    private final String name;
    private final int tap;
    private final int me;
    private final int peer;
    private final Thread sender = new Thread(this::send);
    private final Thread receiver = new Thread(this::receive);
    private final Object lock = new Object();
    private boolean stopped;
    private int still;
    private volatile boolean end;
    volatile String trouble;
    volatile long next;
    volatile long expected;
    /** The saved state: what had been sent and received. */
    long savedNext = -1;

    long savedExpected = -1;
    int conts;
    boolean snapshotClosed;

    FakeVm(String name, int tap, int me, int peer) {
        this.name = name;
        this.tap = tap;
        this.me = me;
        this.peer = peer;
        sender.start();
        receiver.start();
    }

    /** One without a NIC. */
    FakeVm(String name) {
        this(name, -1, 0, 0);
    }

    private void standStill() {
        synchronized (lock) {
            if (stopped) {
                still++;
                lock.notifyAll();
                while (stopped && !end) {
                    try {
                        lock.wait(1000);
                    } catch (InterruptedException e) {
                        return;
                    }
                }
                still--;
                lock.notifyAll();
            }
        }
    }

    private void send() {
        try {
            while (!end) {
                standStill();
                if (tap < 0) {
                    LockSupport.parkNanos(1_000_000);
                    continue;
                }
                long number = next;
                TestHosts.write(tap, TestHosts.frame(peer, me, 0x1234, number));
                next = number + 1;
                LockSupport.parkNanos(100_000);
            }
        } catch (IOException e) {
            trouble = e.toString();
        }
    }

    private void receive() {
        var b = ByteBuffer.allocateDirect(70_000);
        while (!end) {
            standStill();
            if (tap < 0) {
                LockSupport.parkNanos(1_000_000);
                continue;
            }
            long n = Native.lib().hf_read(tap, b, 70_000, 1);
            if (n == -Errno.ETIMEDOUT) {
                continue;
            }
            if (n < 0) {
                trouble = "read " + n;
                return;
            }
            short type = b.getShort(24);
            if (type == (short) 0x88B5) {
                trouble = "a cookie reached the guest";
            } else if (type == 0x1234) {
                if (TestHosts.number(b) != expected) {
                    trouble = "frame " + TestHosts.number(b) + " instead of " + expected;
                }
                expected = TestHosts.number(b) + 1;
            }
        }
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public long pid() {
        return 1;
    }

    @Override
    public VmState state() {
        return new VmState(name, stopped ? "paused" : "running", 1, "tcg", false, "fake", null);
    }

    @Override
    public int tapFd(int nic) {
        return tap;
    }

    @Override
    public void beginStop() {
        synchronized (lock) {
            stopped = true;
        }
    }

    @Override
    public long awaitStopped(Duration limit) {
        synchronized (lock) {
            while (still < 2) {
                try {
                    lock.wait(1000);
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        return Native.micros();
    }

    @Override
    public void beginCont() {
        synchronized (lock) {
            conts++;
            stopped = false;
            lock.notifyAll();
        }
    }

    @Override
    public long awaitRunning(Duration limit) {
        return Native.micros();
    }

    @Override
    public void writeBehind() {}

    @Override
    public Snapshot prepareSnapshot(Image image) {
        return this;
    }

    @Override
    public void load(Image image) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void kill() {}

    @Override
    public void detach() {}

    @Override
    public void begin() throws AgentException {
        savedNext = next;
        savedExpected = expected;
    }

    @Override
    public long awaitArmed(Duration limit) {
        LockSupport.parkNanos(3_000_000);
        return Native.micros();
    }

    @Override
    public void awaitComplete(Duration limit) {}

    @Override
    public void close() {
        snapshotClosed = true;
    }

    void shutDown() throws InterruptedException {
        end = true;
        synchronized (lock) {
            lock.notifyAll();
        }
        sender.join();
        receiver.join();
    }
}
