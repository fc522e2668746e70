package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.Sizes;
import io.holdfast.schemas.spec.VmSpec;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/**
 * Prepare, cut with write, and abort.
 *
 * <pre>
 *            prepare            cut                     write
 *   (none) ───────────▶ prepared ───▶ cutting ─▶ running ───▶ (none), image complete
 *      ▲                   │ expiry, abort │          │ failure, abort
 *      └───────────────────┴───────────────┴──────────┘  snapshots closed, images removed, VMs run
 * </pre>
 */
final class CheckpointWork {
    private static final Logger LOG = Logger.getLogger(CheckpointWork.class);
    private final Instances instances;
    private final KeyedExecutor executor;
    private final ScheduledExecutorService timer;
    private final Telemetry telemetry;
    private final Clock clock;
    private final FaultPoints faults;

    CheckpointWork(
            Instances instances,
            KeyedExecutor executor,
            ScheduledExecutorService timer,
            Telemetry telemetry,
            Clock clock) {
        this.instances = instances;
        this.executor = executor;
        this.timer = timer;
        this.telemetry = telemetry;
        this.clock = clock;
        this.faults = instances.ports.faults();
    }

    /**
     * Opens everything that the cut needs. Needs: the instance runs here, all its VMs alive, space for the images.
     * Effects: empty images, snapshots and cookie sockets open; given up by itself after the limit. On failure: nothing is
     * left.
     */
    void prepare(Command.Prepare command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        Instance instance = instances.running(command.header().instance());
        byte[] nonce = nonce(command.nonce());
        if (command.cutLimitMillis() <= 0 || command.cutLimitMillis() > 60_000) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT, "cut limit must be 1 to 60000 ms", "see docs/protocol.md");
        }
        faults.look();
        faults.reach(FaultPoint.PREPARE_BEGUN);
        // One that its coordinator has forgotten gives way.
        instances.release(instance, op);
        instances.requireAlive(instance);
        if (instance.network == null) {
            throw new AgentException(
                    ErrorCode.NETWORK_FAILED,
                    "the network of " + instance.name() + " could not be taken over when the agent started",
                    "see the agent's log; restore the instance from a checkpoint");
        }
        instances.pruneImages(clock.instant());
        long needed = neededBytes(instance);
        long free = instances.ports.images().freeBytes();
        instances.state(
                instance,
                instance.state
                        .withCheckpoints(List.of(command.checkpoint()))
                        .withEpoch(command.header().epoch()));
        List<CutEngine.Participant> participants = new ArrayList<>();
        Map<String, Image> images = new HashMap<>();
        try {
            for (Vm vm : instance.present()) {
                token.check();
                Image image = instances.ports.images().create(command.checkpoint(), instance.layout, vm.name());
                images.put(vm.name(), image);
                faults.reach(FaultPoint.PREPARE_IMAGE);
                participants.add(new CutEngine.Participant(vm, vm.prepareSnapshot(image)));
            }
            token.check();
            faults.reach(FaultPoint.PREPARE_SNAPSHOTS);
            CutEngine.Prepared prepared = instances
                    .ports
                    .cutEngine()
                    .prepare(
                            instance.network,
                            List.copyOf(participants),
                            nonce,
                            Duration.ofMillis(command.cutLimitMillis()));
            faults.reach(FaultPoint.PREPARE_READY);
            instance.checkpoint = new Instance.OpenCheckpoint(command.checkpoint(), participants, images, prepared);
        } catch (AgentException | RuntimeException e) {
            participants.forEach(p -> Instances.quietly(
                    op, "snapshot of " + p.vm().name(), () -> p.snapshot().close()));
            releaseQuietly(instance, op);
            throw e;
        }
        expire(instance, instance.checkpoint, op);
        LOG.infof(
                "%s event=prepared checkpoint=%s vms=%d needed=%d free=%d",
                op, command.checkpoint(), participants.size(), needed, free);
        reporter.last(new Report.Prepared(reporter.done(), needed, free, instance.states()));
        faults.reach(FaultPoint.PREPARE_REPORTED);
    }

    @SuppressWarnings("FutureReturnValueIgnored") // it looks by itself whether it still has something to do
    private void expire(Instance instance, Instance.OpenCheckpoint open, Op op) {
        timer.schedule(
                () -> executor.execute(instance.name(), () -> {
                    if (instance.checkpoint == open && !open.cutting) {
                        LOG.warnf("%s event=prepared-expired checkpoint=%s", op, open.id);
                        releaseQuietly(instance, op);
                    }
                }),
                instances.settings.prepareLimit().toMillis(),
                TimeUnit.MILLISECONDS);
    }

    private static byte[] nonce(String hex) throws AgentException {
        try {
            byte[] nonce = HexFormat.of().parseHex(hex);
            if (nonce.length == 16) {
                return nonce;
            }
        } catch (IllegalArgumentException | NullPointerException e) {
            LOG.debugf(e, "event=bad-nonce");
        }
        throw new AgentException(ErrorCode.INVALID_EVENT, "the nonce is not 16 bytes in hex", "see docs/protocol.md");
    }

    private static long neededBytes(Instance instance) {
        long sum = 0;
        for (String name : instance.placed) {
            VmSpec vm = instance.layout.spec().vm(name);
            sum += vm.memoryBytes();
            for (DiskSpec disk : vm.disks()) {
                if (disk.mode() == DiskSpec.Mode.scratch) {
                    sum += Sizes.parse(disk.size());
                }
            }
        }
        return sum;
    }

    /**
     * Takes the cut and writes the images. Needs: the checkpoint prepared here, its time ahead. Effects: two reports, cut
     * and write. On failure of either: images removed, VMs run.
     */
    void cut(Command.Cut command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        Instance instance = instances.running(command.header().instance());
        Instance.OpenCheckpoint open = instance.checkpoint;
        if (open == null || !open.id.equals(command.checkpoint())) {
            throw new AgentException(
                    ErrorCode.INTERRUPTED,
                    "checkpoint " + command.checkpoint() + " is not prepared on host " + instances.settings.host()
                            + ": it expired, was given up, or the agent restarted",
                    "take another checkpoint");
        }
        open.cutting = true;
        CutEngine.Result result;
        // Given up while it waits for its time, or for a peer: it stops waiting.
        try (var hook = token.onCancel(open.prepared::close)) {
            token.check();
            long ahead = command.startAtMicros() - ChronoUnit.MICROS.between(Instant.EPOCH, clock.instant());
            if (ahead <= 0) {
                throw new AgentException(
                        ErrorCode.TOO_LATE,
                        "the cut's time was " + -ahead + " us ago by the clock of host " + instances.settings.host(),
                        "check that the hosts' clocks are synchronised; raise holdfast.coordinator.cut-lead");
            }
            if (ahead > 60_000_000) {
                throw new AgentException(
                        ErrorCode.CLOCK_SKEW,
                        "the cut's time is more than 60 s ahead by the clock of host " + instances.settings.host(),
                        "check that the hosts' clocks are synchronised");
            }
            result = open.prepared.cut(command.startAtMicros());
            instances.makeSafe(instance, op);
        } catch (AgentException | RuntimeException e) {
            releaseQuietly(instance, op);
            throw e;
        }
        write(instance, open, result, op, reporter, token);
    }

    private void write(
            Instance instance,
            Instance.OpenCheckpoint open,
            CutEngine.Result result,
            Op op,
            Reporter reporter,
            CancelToken token)
            throws AgentException {
        long begin = System.nanoTime();
        List<VmImage> written = new ArrayList<>();
        Runnable closeAll = () -> open.participants.forEach(p -> p.snapshot().close());
        try (var hook = token.onCancel(closeAll)) {
            LOG.infof(
                    "%s event=cut checkpoint=%s pause-micros=%d",
                    op,
                    open.id,
                    result.figures().runningMicros() - result.figures().stoppedMicros());
            faults.reach(FaultPoint.CUT_DONE);
            telemetry.cut(result.figures());
            reporter.first(new Report.CutDone(reporter.header("cut", "done"), result.figures()));
            faults.reach(FaultPoint.CUT_REPORTED);
            faults.reach(FaultPoint.WRITE_FRAMES);
            for (Map.Entry<NicId, List<Frame>> e : result.frames().entrySet()) {
                NicId nic = e.getKey();
                if (!e.getValue().isEmpty()) {
                    String segment = instance.layout
                            .spec()
                            .vm(nic.vm())
                            .nics()
                            .get(nic.index())
                            .segment();
                    open.images.get(nic.vm()).writeFrames(nic.index(), segment, e.getValue());
                }
            }
            instances.ports.images().writeFigures(open.id, result.figures());
            for (CutEngine.Participant p : open.participants) {
                token.check();
                long left = instances.settings.writeLimit().toNanos() - (System.nanoTime() - begin);
                p.snapshot().awaitComplete(Duration.ofNanos(Math.max(left, 1)));
            }
            token.check();
            faults.reach(FaultPoint.WRITE_SEALING);
            for (CutEngine.Participant p : open.participants) {
                token.check();
                written.add(open.images.get(p.vm().name()).seal());
                faults.reach(FaultPoint.WRITE_SEALED);
            }
            token.check();
            // Complete: it stays when the agent restarts.
            instances.state(instance, instance.state.withCheckpoints(List.of()));
            faults.reach(FaultPoint.WRITE_COMPLETE);
        } catch (AgentException | RuntimeException e) {
            releaseQuietly(instance, op);
            try {
                instances.ports.images().delete(open.id);
            } catch (AgentException again) {
                LOG.errorf(again, "%s event=image-not-removed checkpoint=%s", op, open.id);
            }
            throw new WriteFailed(e instanceof AgentException a ? a : Parallel.internal(e));
        }
        Instances.quietly(op, "cut", open.prepared::close);
        Instances.quietly(op, "snapshots", closeAll);
        instance.checkpoint = null;
        Duration took = Duration.ofNanos(System.nanoTime() - begin);
        long data = written.stream().mapToLong(VmImage::dataBytes).sum();
        telemetry.written(data, took);
        LOG.infof("%s event=written checkpoint=%s data-bytes=%d millis=%d", op, open.id, data, took.toMillis());
        reporter.last(new Report.Written(reporter.header("write", "done"), List.copyOf(written)));
        try {
            faults.reach(FaultPoint.WRITE_REPORTED);
        } catch (AgentException e) {
            throw new IllegalStateException(e); // it cannot fail
        }
    }

    /** The cut was done and reported; what failed is the write. */
    static final class WriteFailed extends RuntimeException {
        private static final long serialVersionUID = 1;
        final transient AgentException why;

        WriteFailed(AgentException why) {
            super(why);
            this.why = why;
        }
    }

    private void releaseQuietly(Instance instance, Op op) {
        try {
            instances.release(instance, op);
        } catch (AgentException | RuntimeException e) {
            LOG.errorf(e, "%s event=release-failed", op);
        }
    }

    /** Gives up a checkpoint. Needs nothing. Effects: no snapshot, no image of it here, VMs run. */
    void abort(Command.Abort command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        faults.look();
        faults.reach(FaultPoint.ABORT_BEGUN);
        var found = instances.find(command.header().instance());
        if (found.isPresent()) {
            Instance instance = found.get();
            if (instance.checkpoint != null && !instance.checkpoint.id.equals(command.checkpoint())) {
                LOG.warnf(
                        "%s event=abort-of-other checkpoint=%s at-work=%s",
                        op, command.checkpoint(), instance.checkpoint.id);
            } else {
                instances.release(instance, op);
            }
            instances.makeSafe(instance, op);
        }
        faults.reach(FaultPoint.ABORT_RELEASED);
        instances.ports.images().delete(command.checkpoint());
        LOG.infof("%s event=aborted checkpoint=%s reason=\"%s\"", op, command.checkpoint(), command.reason());
        reporter.last(new Report.Aborted(reporter.done()));
    }
}
