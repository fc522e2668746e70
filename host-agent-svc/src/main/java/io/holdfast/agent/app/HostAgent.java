package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Report;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/**
 * One host's agent: takes commands, does them on one thread per instance, reports.
 *
 * <p>A command is durable in the {@link CommandJournal} when {@link #accept} returns. A repeat of a finished command sends
 * its stored reports again, one of a running command is ignored. Destroy and abort make the commands that they end give
 * up at once.
 */
public final class HostAgent {
    private static final Logger LOG = Logger.getLogger(HostAgent.class);
    private static final long STOP_MILLIS = 5000;
    private final AgentSettings settings;
    private final Outbox outbox;
    private final Telemetry telemetry;
    private final Clock clock;
    private final CommandJournal journal;
    private final Instances instances;
    private final Ports ports;
    private final KeyedExecutor executor = new KeyedExecutor();
    private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(
            2, Thread.ofPlatform().name("timer-", 0).daemon(true).factory());
    private final BuildWork build;
    private final CheckpointWork checkpoints;
    private final HeartbeatLoop heartbeats;
    private final List<Running> running = new ArrayList<>();
    private volatile boolean ready;

    private record Running(Command.ForAgent command, Reporter reporter, CancelToken token) {}

    /** Opens the state folder; nothing is touched before {@link #start}. */
    public HostAgent(AgentSettings settings, Ports ports, Outbox outbox, Telemetry telemetry, Clock clock)
            throws IOException {
        this.settings = settings;
        this.ports = ports;
        this.outbox = outbox;
        this.telemetry = telemetry;
        this.clock = clock;
        this.journal = new CommandJournal(settings.commandsDir());
        this.instances = new Instances(settings, ports);
        this.build = new BuildWork(instances, clock);
        this.checkpoints = new CheckpointWork(instances, executor, timer, telemetry, clock);
        this.heartbeats =
                new HeartbeatLoop(instances, new HostFacts(Path.of("/proc"), Path.of("/sys")), outbox, telemetry);
    }

    /**
     * Takes over what an earlier agent left, answers its unfinished commands, lets commands run and begins heartbeats.
     * Blocks until done; commands may be accepted before.
     */
    @SuppressWarnings("FutureReturnValueIgnored") // prune() never throws
    public void start() throws IOException {
        List<CommandJournal.Entry> unfinished = journal.unfinished();
        new Takeover(instances).run();
        for (Instance instance : instances.all()) {
            journal.seenEpoch(instance.name(), instance.state.epoch());
        }
        for (CommandJournal.Entry entry : unfinished) {
            answerUnfinished(entry);
        }
        executor.open();
        Hypervisor.AcceleratorChoice choice = ports.hypervisor().accelerator();
        heartbeats.start(timer, ports.hypervisor().version(), choice);
        timer.scheduleWithFixedDelay(this::prune, 0, 3600, TimeUnit.SECONDS);
        long every = settings.pruneEvery().toMillis();
        timer.scheduleWithFixedDelay(this::pruneImages, every, every, TimeUnit.MILLISECONDS);
        ready = true;
        LOG.infof(
                "event=agent-ready host=%s instances=%d unfinished=%d qemu=%s accelerator=%s reason=\"%s\"",
                settings.host(),
                instances.all().size(),
                unfinished.size(),
                ports.hypervisor().version(),
                choice.accelerator(),
                choice.reason());
    }

    /** Whether the takeover is done. */
    public boolean ready() {
        return ready;
    }

    /** How many heartbeats were sent so far. */
    public long beats() {
        return heartbeats.beats();
    }

    private void prune() {
        try {
            int removed = journal.prune(clock.instant(), settings.commandRetention());
            if (removed > 0) {
                LOG.infof("event=commands-forgotten host=%s count=%d", settings.host(), removed);
            }
        } catch (IOException | RuntimeException e) {
            LOG.errorf(e, "event=commands-not-forgotten host=%s", settings.host());
        }
    }

    private void pruneImages() {
        try {
            instances.pruneImages(clock.instant());
        } catch (RuntimeException e) {
            LOG.errorf(e, "event=images-not-pruned host=%s", settings.host());
        }
    }

    private void answerUnfinished(CommandJournal.Entry entry) {
        Command.ForAgent command = entry.command();
        Op op = Op.of(command);
        Reporter reporter = new Reporter(journal, outbox, command, entry.traceparent());
        try {
            switch (command) {
                case Command.Destroy c -> submit(c, entry.traceparent());
                case Command.Abort c -> submit(c, entry.traceparent());
                case Command.Deploy c -> {
                    Optional<Instance> built = instances.find(c.header().instance());
                    if (built.isPresent() && built.get().layout.equals(c.layout()) && runs(built.get())) {
                        LOG.infof("%s event=deploy-was-done", op);
                        reporter.last(
                                new Report.Deployed(reporter.done(), built.get().states()));
                    } else {
                        if (built.isPresent() && built.get().layout.equals(c.layout())) {
                            instances.undo(built.get().name(), op);
                        }
                        interrupted(reporter, command, c.header().phase(), op);
                    }
                }
                case Command.Prepare c -> {
                    ports.images().delete(c.checkpoint());
                    interrupted(reporter, command, c.header().phase(), op);
                }
                case Command.Cut c -> {
                    boolean cutDone = entry.reports().stream().anyMatch(r -> r instanceof Report.CutDone);
                    ports.images().delete(c.checkpoint());
                    interrupted(
                            reporter, command, cutDone ? "write" : c.header().phase(), op);
                }
                case Command.Load c -> interrupted(reporter, command, c.header().phase(), op);
                case Command.Resume c ->
                    interrupted(reporter, command, c.header().phase(), op);
            }
        } catch (AgentException | RuntimeException e) {
            LOG.errorf(e, "%s event=unfinished-command-not-cleaned", op);
            interrupted(reporter, command, command.header().phase(), op);
        }
    }

    private boolean runs(Instance instance) {
        return instance.state.phase() == InstanceState.Phase.RUNNING
                && instance.present().size() == instance.placed.size()
                && instance.present().stream().allMatch(Instances::alive)
                && instance.network != null;
    }

    private void interrupted(Reporter reporter, Command.ForAgent command, String phase, Op op) {
        LOG.warnf("%s event=command-interrupted", op);
        reporter.last(new Report.Failed(
                Report.Header.of(command.header(), phase, "failed"),
                ErrorCode.INTERRUPTED,
                "the agent of host " + settings.host() + " restarted while it was at work; VMs that it found run",
                "try again"));
    }

    /**
     * Takes a command. Blocks for a disk write at most; never throws.
     *
     * @param sentAt time of the CloudEvent
     * @param traceparent W3C trace context, or null
     */
    public synchronized void accept(Command.ForAgent command, Instant sentAt, String traceparent) {
        Command.Header header = command.header();
        if (header == null || header.operation() == null || header.phase() == null || header.instance() == null) {
            LOG.errorf("event=command-without-header host=%s type=%s", settings.host(), command.getClass());
            return;
        }
        if (!settings.host().equals(header.host())) {
            return;
        }
        Op op = Op.of(command);
        try {
            switch (journal.status(header.id())) {
                case FINISHED -> {
                    CommandJournal.Entry entry = journal.find(header.id()).orElseThrow();
                    LOG.infof(
                            "%s event=command-repeated reports=%d",
                            op, entry.reports().size());
                    entry.reports().forEach(r -> outbox.report(r, entry.traceparent()));
                }
                case RUNNING -> LOG.infof("%s event=command-repeated msg=\"still at work\"", op);
                case NEW -> {
                    Optional<AgentException> refusal = refusal(command, sentAt);
                    journal.accept(command, clock.instant(), traceparent);
                    LOG.infof(
                            "%s event=command-accepted type=%s",
                            op, command.getClass().getSimpleName());
                    if (refusal.isPresent()) {
                        refuse(command, new Reporter(journal, outbox, command, traceparent), refusal.get());
                    } else {
                        submit(command, traceparent);
                    }
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.errorf(e, "%s event=command-not-taken", op);
            outbox.report(
                    new Report.Failed(
                            Report.Header.of(header, header.phase(), "failed"),
                            ErrorCode.IO_FAILED,
                            "host " + settings.host() + " cannot write down the command: " + e,
                            "look at the state folder's disk and permissions"),
                    traceparent);
        }
    }

    private Optional<AgentException> refusal(Command.ForAgent command, Instant sentAt) {
        try {
            SafeNames.check(command, settings.host());
        } catch (AgentException e) {
            return Optional.of(e);
        } catch (RuntimeException e) {
            return Optional.of(new AgentException(
                    ErrorCode.INVALID_EVENT, "the command is incomplete: " + e, "see docs/protocol.md", e));
        }
        Command.Header header = command.header();
        Duration ahead = Duration.between(clock.instant(), sentAt);
        long seen = journal.epoch(header.instance());
        if (header.epoch() < seen) {
            return Optional.of(new AgentException(
                    ErrorCode.STALE_EPOCH,
                    "epoch " + header.epoch() + " is older than " + seen,
                    "another coordinator has taken over"));
        }
        boolean alwaysUseful = command instanceof Command.Destroy || command instanceof Command.Abort;
        if (!alwaysUseful && sentAt.isBefore(clock.instant().minus(settings.commandMaxAge()))) {
            return Optional.of(new AgentException(
                    ErrorCode.TOO_LATE,
                    "the command was sent at " + sentAt + ", " + ahead.negated().toSeconds()
                            + " s ago by the clock of host " + settings.host() + ": too long to be of use",
                    "request the operation again; check that the hosts' clocks are synchronised"));
        }
        if ((command instanceof Command.Prepare || command instanceof Command.Cut)
                && ahead.compareTo(settings.clockTolerance()) > 0) {
            // Nothing comes before it was sent: this host would start its cut so much later than its peers.
            return Optional.of(new AgentException(
                    ErrorCode.CLOCK_SKEW,
                    "by the clock of host " + settings.host() + " the command comes " + ahead.toMillis()
                            + " ms before it was sent: this clock or the coordinator's is wrong",
                    "synchronise the clocks of all hosts (NTP)"));
        }
        return Optional.empty();
    }

    private void refuse(Command.ForAgent command, Reporter reporter, AgentException e) {
        fail(command, reporter, command.header().phase(), e);
    }

    private void fail(Command.ForAgent command, Reporter reporter, String phase, AgentException e) {
        LOG.warnf(e, "%s event=command-failed code=%s", Op.of(command), e.code());
        reporter.last(new Report.Failed(reporter.header(phase, "failed"), e.code(), e.getMessage(), e.remedy()));
    }

    private void submit(Command.ForAgent command, String traceparent) {
        String instance = command.header().instance();
        Running mine = new Running(command, new Reporter(journal, outbox, command, traceparent), new CancelToken());
        List<Running> ended;
        synchronized (running) {
            ended = running.stream().filter(r -> ends(command, r.command())).toList();
            running.add(mine);
        }
        ended.forEach(r -> r.token()
                .cancel(command.header().phase() + " of " + command.header().operation()));
        executor.execute(instance, () -> run(mine));
    }

    /** Whether a command makes another one give up. */
    private static boolean ends(Command.ForAgent command, Command.ForAgent other) {
        if (!command.header().instance().equals(other.header().instance())) {
            return false;
        }
        return switch (command) {
            case Command.Destroy d -> !(other instanceof Command.Destroy || other instanceof Command.Abort);
            case Command.Abort a ->
                switch (other) {
                    case Command.Prepare p -> p.checkpoint().equals(a.checkpoint());
                    case Command.Cut c -> c.checkpoint().equals(a.checkpoint());
                    default -> false;
                };
            default -> false;
        };
    }

    private void run(Running r) {
        Command.ForAgent command = r.command();
        long begin = System.nanoTime();
        String code = null;
        String phase = command.header().phase();
        try {
            r.token().check();
            LOG.infof("%s event=command-started", Op.of(command));
            switch (command) {
                case Command.Deploy c -> build.deploy(c, r.reporter(), r.token());
                case Command.Prepare c -> checkpoints.prepare(c, r.reporter(), r.token());
                case Command.Cut c -> checkpoints.cut(c, r.reporter(), r.token());
                case Command.Abort c -> checkpoints.abort(c, r.reporter(), r.token());
                case Command.Load c -> build.load(c, r.reporter(), r.token());
                case Command.Resume c -> build.resume(c, r.reporter(), r.token());
                case Command.Destroy c -> build.destroy(c, r.reporter(), r.token());
            }
        } catch (CheckpointWork.WriteFailed e) {
            code = failed(r, "write", e.why);
        } catch (AgentException e) {
            code = failed(r, phase, e);
        } catch (RuntimeException | Error e) {
            code = failed(r, phase, Parallel.internal(e));
        } finally {
            synchronized (running) {
                running.remove(r);
            }
            Duration took = Duration.ofNanos(System.nanoTime() - begin);
            telemetry.commandEnded(phase, code, took);
            LOG.infof("%s event=command-ended code=%s millis=%d", Op.of(command), code, took.toMillis());
        }
    }

    private String failed(Running r, String phase, AgentException e) {
        AgentException why = e;
        if (r.token().reason() != null && e.code() != ErrorCode.ABORTED) {
            // What failed did so because it was made to give up.
            why = new AgentException(ErrorCode.ABORTED, "given up: " + r.token().reason(), "nothing to do", e);
        }
        fail(r.command(), r.reporter(), phase, why);
        return why.code().name();
    }

    /** Stops: commands at work give up and are answered at the next start, VMs run on, descriptors are let go. */
    public void stop() {
        ready = false;
        List<Running> left;
        synchronized (running) {
            left = List.copyOf(running);
        }
        for (Running r : left) {
            r.reporter().mute();
            r.token().cancel("the agent stops");
        }
        executor.shutdown(STOP_MILLIS);
        timer.shutdownNow();
        for (Instance instance : instances.all()) {
            Op op = Op.own(instance.name(), settings.host(), "stop");
            try {
                instances.release(instance, op);
            } catch (AgentException | RuntimeException e) {
                LOG.errorf(e, "%s event=release-failed", op);
            }
        }
        instances.detachAll();
        LOG.infof(
                "event=agent-stopped host=%s instances=%d",
                settings.host(), instances.all().size());
    }
}
