package io.holdfast.agent.domain;

import io.holdfast.schemas.event.VmState;
import java.time.Duration;

/** A running QEMU. Thread-safe; commands are answered in order. */
public interface Vm {
    String name();

    long pid();

    /** State as last known, dead once the process has ended. Never blocks. */
    VmState state();

    /**
     * Descriptor number that the NIC's TAP has in QEMU's own process, kept in the VM's folder so that a restarted agent
     * can take the TAP over ({@link NetworkFabric#adopt}); -1 when there is no such NIC. Never blocks.
     */
    int tapFd(int nic);

    /** Sends {@code stop} and returns without waiting: all VMs of a host are stopped side by side. */
    void beginStop() throws AgentException;

    /** Waits until the VM has stopped. Returns microseconds since the epoch of QEMU's answer. */
    long awaitStopped(Duration limit) throws AgentException;

    /**
     * Sends {@code cont} and returns without waiting: all VMs of a host are run side by side. A snapshot's stream is taken from now on as
     * fast as it comes; before, only as much of it is as shows that it is armed, so that a VM that is armed early takes no processor time
     * from those that are not.
     */
    void beginCont() throws AgentException;

    /** Waits until the VM runs after {@link #beginCont}. Returns microseconds since the epoch of QEMU's answer. */
    long awaitRunning(Duration limit) throws AgentException;

    /** Lets the VM run. Done at once when it runs already. */
    default void cont(Duration limit) throws AgentException {
        beginCont();
        long ignored = awaitRunning(limit);
    }

    /**
     * Opens and passes all that a background snapshot needs: the stream's descriptor in QEMU, the reader, the image
     * files. Nothing is left to open at the cut.
     */
    Snapshot prepareSnapshot(Image image) throws AgentException;

    /** Loads an image into a VM started with {@code incoming}; returns when devices and all RAM are loaded. */
    void load(Image image) throws AgentException;

    /** Ends the QEMU process by its pidfd and waits for its end. Idempotent. */
    void kill();

    /** Lets go of descriptors; the VM runs on. */
    void detach();

    /** A background snapshot, used once. */
    interface Snapshot extends AutoCloseable {
        /** Tells QEMU to begin; returns without waiting for it. The VM must be stopped. */
        void begin() throws AgentException;

        /** Waits until device state is saved and RAM is write-protected; from then on the VM may run. */
        long awaitArmed(Duration limit) throws AgentException;

        /** All VMs run: what was taken is written to the disk, behind them. Idempotent, never waits. */
        void writeBehind();

        /** Waits until the image is complete: {@code ram.img} and {@code devices.bin} written and fsynced. */
        void awaitComplete(Duration limit) throws AgentException;

        /** Cancels if not complete and lets go of everything. Idempotent. */
        @Override
        void close();
    }
}
