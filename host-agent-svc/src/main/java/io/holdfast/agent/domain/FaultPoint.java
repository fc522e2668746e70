package io.holdfast.agent.domain;

import java.util.Arrays;
import java.util.Optional;

/**
 * The numbered places on the way of a checkpoint at which {@link FaultPoints} can make something go wrong. Numbers from 50 on are
 * in the native library (native/src/fault.h has the same ones).
 */
public enum FaultPoint {
    /** The command is taken, nothing is opened. */
    PREPARE_BEGUN(1, "prepare.begun"),
    /** The checkpoint is noted in the instance's state, the first VM's image folder is made. */
    PREPARE_IMAGE(2, "prepare.image"),
    /** Image files and pipe are open, QEMU knows nothing of them. */
    PREPARE_FILES(3, "prepare.files"),
    /** QEMU holds its end of the stream. */
    PREPARE_PASSED(4, "prepare.passed"),
    /** All snapshots are ready; the gates do not know the nonce yet. */
    PREPARE_SNAPSHOTS(5, "prepare.snapshots"),
    /** Everything is open, not yet reported. */
    PREPARE_READY(6, "prepare.ready"),
    /** Prepared was reported. */
    PREPARE_REPORTED(7, "prepare.reported", false),

    /** The cut's time has come, all gates are open. */
    CUT_GATES_CLOSING(10, "cut.gates-closing"),
    /** One gate is closed. */
    CUT_GATE_CLOSED(11, "cut.gate-closed"),
    /** All gates are closed. */
    CUT_GATES_CLOSED(12, "cut.gates-closed"),
    /** QEMU has read what had passed; before stop. */
    CUT_DRAINED(13, "cut.drained"),
    /** The first VM is told to stop. */
    CUT_STOP_SENT(14, "cut.stop-sent"),
    /** All VMs stand still. */
    CUT_ALL_STOPPED(15, "cut.all-stopped"),
    /** Peers are told so. */
    CUT_STOPPED_SAID(16, "cut.stopped-said"),
    /** The first snapshot has begun. */
    CUT_SNAPSHOT_BEGUN(17, "cut.snapshot-begun"),
    /** Every peer has said stopped, the settle time is over. */
    CUT_CHANNELS(18, "cut.channels"),
    /** All snapshots are armed. */
    CUT_ARMED(19, "cut.armed"),
    /** Peers are told captured. */
    CUT_CAPTURED_SAID(20, "cut.captured-said"),
    /** Every peer has captured; no VM runs yet. */
    CUT_CAPTURED_HEARD(21, "cut.captured-heard"),
    /** The first VM is told to run. */
    CUT_CONT_SENT(22, "cut.cont-sent"),
    /** All VMs run, frames are held. */
    CUT_ALL_RUNNING(23, "cut.all-running"),
    /** The frames of one gate are given back. */
    CUT_GIVING_BACK(24, "cut.giving-back"),
    /** All gates are open. */
    CUT_GATES_OPEN(25, "cut.gates-open"),
    /** The cut is done, not reported. */
    CUT_DONE(26, "cut.done"),
    /** The cut is reported. */
    CUT_REPORTED(27, "cut.reported"),

    /** A stream is about to be taken into memory at full speed. */
    WRITE_STREAM(30, "write.stream"),
    /** A piece of a stream is about to be written to the image; passed once per piece. */
    WRITE_PAGES(31, "write.pages"),
    /** All pages are written, nothing is forced to the disk. */
    WRITE_FSYNC(32, "write.fsync"),
    /** RAM is on the disk, device state is not. */
    WRITE_DEVICES(33, "write.devices"),
    /** All streams are on the disk, frames in flight are not. */
    WRITE_FRAMES(34, "write.frames"),
    /** Everything is there but the files that make images complete. */
    WRITE_SEALING(35, "write.sealing"),
    /** One VM's image is complete. */
    WRITE_SEALED(36, "write.sealed"),
    /** All are, and the instance's state says so. */
    WRITE_COMPLETE(37, "write.complete"),
    /** Written was reported. */
    WRITE_REPORTED(38, "write.reported", false),

    /** An abort has come, nothing is done. */
    ABORT_BEGUN(40, "abort.begun"),
    /** Snapshots are closed, images are there. */
    ABORT_RELEASED(41, "abort.released"),

    /** An agent that starts has found its instances' folders; its VMs may stand still. */
    TAKEOVER_BEGUN(45, "takeover.begun", false),
    /** Its VMs run, leftovers are there. */
    TAKEOVER_RUNNING(46, "takeover.running", false),

    /** A pipe is made. */
    NATIVE_PIPE(50, "native.pipe"),
    /** A descriptor is passed to QEMU. */
    NATIVE_PASS_FD(51, "native.pass-fd"),
    /** A device's counters are read. */
    NATIVE_COUNTERS(52, "native.counters"),
    /** A gate closes: before the store. */
    NATIVE_GATE_CLOSE(53, "native.gate-close", false),
    /** A gate opens: before the store. */
    NATIVE_GATE_OPEN(54, "native.gate-open", false),
    /** A cookie is sent. */
    NATIVE_COOKIE(55, "native.cookie"),
    /** A hold TAP is about to be read. */
    NATIVE_HELD_READ(56, "native.held-read"),
    /** A collected frame is given to the VM. */
    NATIVE_INJECT(57, "native.inject"),
    /** A held frame has been read and is to be given to the VM at once. */
    NATIVE_GIVE(58, "native.give");

    /** The first number that is in the native library. */
    public static final int FIRST_NATIVE = 50;

    private final int number;
    private final String key;
    private final boolean canFail;

    FaultPoint(int number, String key) {
        this(number, key, true);
    }

    FaultPoint(int number, String key, boolean canFail) {
        this.number = number;
        this.key = key;
        this.canFail = canFail;
    }

    /** Its number, never given to another point. */
    public int number() {
        return number;
    }

    /** Its name in settings, logs and docs. */
    public String key() {
        return key;
    }

    /** Whether what is done there can fail; else a fault can only kill or delay. */
    public boolean canFail() {
        return canFail;
    }

    /** Whether it is in the native library. */
    public boolean isNative() {
        return number >= FIRST_NATIVE;
    }

    /** The point of that name. */
    public static Optional<FaultPoint> named(String key) {
        return Arrays.stream(values()).filter(p -> p.key.equals(key)).findFirst();
    }
}
