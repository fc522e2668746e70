package io.holdfast.storage.app;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jboss.logging.Logger;

/**
 * Takes commands, does each once, reports. One archive, one pull, one commit, one long and one short command on the repository are at work at a time, side by side,
 * so that memory stays bounded, a commit waits for no upload and a release for no verify. (Commands on the repository of several hosts are at work side by side, too:
 * they agree with each other by what they write into the bucket.) Thread-safe.
 */
public final class CommandRunner implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger(CommandRunner.class);
    private static final Duration KEEP = Duration.ofDays(7);
    /** What epochs of commands on the repository are kept under; no name of an instance. */
    private static final String REPOSITORY = "~repository";
    /** Commits of one operation that are looked for in the journal: more attempts than the limit of the phase has room for. */
    private static final int MOST_COMMITS = 64;

    private static final Duration WITHDRAW_AGAIN = Duration.ofSeconds(1);
    /** A request that was cut off has come to the bucket, or has failed, after that: more than one call may take. */
    private static final Duration ON_ITS_WAY = Duration.ofMinutes(6);

    /** Where reports go. Never blocks. */
    public interface Reports {
        void publish(Report report);
    }

    /** Does commands on the repository, two at a time at most. Thread-safe. */
    public interface Maintenance {
        /**
         * Does a command.
         *
         * @param more takes reports that come before the end
         * @return the report that ends it
         */
        Report execute(Command.ForRepository command, Progress progress, Consumer<Report> more)
                throws StorageException, InterruptedException;

        /**
         * Removes a checkpoint that was committed although it had failed; done too when there is none.
         *
         * @return false if somebody holds it: then it stays
         */
        boolean withdraw(String checkpoint) throws StorageException;
    }

    /** What must be so before a command works on the bucket. */
    public interface Ready {
        void ensure() throws StorageException;
    }

    /** A command that waits or is at work. Given up by an interrupt of its thread. */
    private static final class Work {
        final Command.ForStorage command;
        // Guarded by this.
        private Thread thread;
        private String givenUp;

        Work(Command.ForStorage command) {
            this.command = command;
        }

        synchronized void giveUp(String why) {
            if (givenUp == null) {
                givenUp = why;
                if (thread != null) {
                    thread.interrupt();
                }
            }
        }

        /** Why it is given up, or null. */
        synchronized String givenUp() {
            return givenUp;
        }

        synchronized void begin() throws InterruptedException {
            if (givenUp != null) {
                throw new InterruptedException(givenUp);
            }
            thread = Thread.currentThread();
        }

        /** From here on nobody interrupts the thread for this command. */
        synchronized void end() {
            thread = null;
            if (givenUp != null) {
                boolean unused = Thread.interrupted();
            }
        }
    }

    private final String host;
    private final Path images;
    /** A file for each checkpoint that is to be removed because it had failed when it was committed. */
    private final Path withdrawn;

    private final CommandJournal journal;
    private final Epochs epochs;
    private final Repository repository;
    private final Archiver archiver;
    private final Puller puller;
    private final Maintenance maintenance;
    private final ArchivedMarks marks;
    private final Ready ready;
    private final Reports reports;
    private final Map<String, Work> running = new ConcurrentHashMap<>();
    private final ExecutorService archives = single("archive");
    private final ExecutorService pulls = single("pull");
    private final ExecutorService commits = single("commit");
    private final ExecutorService keeping = single("maintenance");
    private final ExecutorService holding = single("holding");
    private final ScheduledExecutorService ticker =
            Executors.newSingleThreadScheduledExecutor(r -> daemon(r, "storage-progress"));
    private volatile boolean closed;

    public CommandRunner(
            Settings settings,
            CommandJournal journal,
            Repository repository,
            Archiver archiver,
            Puller puller,
            Maintenance maintenance,
            ArchivedMarks marks,
            Ready ready,
            Reports reports)
            throws IOException {
        this.host = settings.host();
        this.images = settings.images();
        this.withdrawn = settings.state().resolve("withdrawn");
        Files.createDirectories(withdrawn);
        this.journal = journal;
        this.epochs = new Epochs(settings.state());
        this.repository = repository;
        this.archiver = archiver;
        this.puller = puller;
        this.maintenance = maintenance;
        this.marks = marks;
        this.ready = ready;
        this.reports = reports;
    }

    private static Thread daemon(Runnable r, String name) {
        Thread t = new Thread(r, name);
        t.setDaemon(true);
        return t;
    }

    private static ExecutorService single(String name) {
        return Executors.newSingleThreadExecutor(r -> daemon(r, "storage-" + name));
    }

    /** Does again what an earlier run of the service left undone. Call once, before commands come. */
    public void resume() throws IOException {
        puller.clean();
        for (Command.ForStorage c : journal.unfinished(KEEP)) {
            LOG.infof("event=command-redone id=%s", c.header().id());
            begin(c);
        }
        resumeWithdrawals(); // after the commits that are done again
    }

    /**
     * Takes a command as {@link #accept(Command.ForStorage)} does, but refuses a new one with TOO_LATE that is too old to be of use by this
     * host's clock: whoever waits for it hears of it at once.
     *
     * @param sent when it was sent, by the broker's clock or the coordinator's
     */
    public void accept(Command.ForStorage command, Instant sent, Duration maxAge) {
        Duration age = Duration.between(sent, Instant.now());
        accept(command, age.compareTo(maxAge) <= 0 ? null : sent + ", " + age.toSeconds() + " s ago");
    }

    /**
     * Takes a command; for other hosts: nothing. When it returns, the command is durable and its record may be
     * acknowledged. A repeat of an ended one publishes its end again; of one at work: nothing.
     */
    public void accept(Command.ForStorage command) {
        accept(command, null);
    }

    private void accept(Command.ForStorage command, String tooOld) {
        Command.Header h = command.header();
        if (h == null || !host.equals(h.host())) {
            return;
        }
        try {
            take(command, h, tooOld);
        } catch (IOException e) {
            LOG.errorf(e, "event=journal-unwritable id=%s", h.id());
            reports.publish(failed(h, ErrorCode.IO_FAILED, e.toString(), "look at the storage service's state folder"));
        }
    }

    /**
     * Takes a command for this host's agent. An abort ends a checkpoint's archive or commit that waits or is at work here, the
     * destroy that undoes a restore ends its pull: they answer with ABORTED. A checkpoint that this service has committed for the operation, or is
     * just committing, is removed: it has failed for everybody else. Others: nothing.
     */
    public void accept(Command.ForAgent command) {
        Command.Header h = command.header();
        boolean ends =
                switch (command) {
                    case Command.Abort a -> true;
                    case Command.Destroy d -> h != null && h.attempt() > 1; // the first may come before the pull
                    default -> false;
                };
        if (!ends || h == null || !host.equals(h.host()) || h.operation() == null || !Names.valid(h.instance())) {
            return;
        }
        try {
            if (!epochs.admit(h.instance(), h.epoch())) { // of a coordinator that another one has replaced
                LOG.warnf("event=command-refused reason=\"old epoch\" id=%s", h.id());
                return;
            }
        } catch (IOException e) {
            LOG.errorf(e, "event=journal-unwritable id=%s", h.id());
            return;
        }
        for (Work w : running.values()) {
            Command.Header of = w.command.header();
            if (!(w.command instanceof Command.ForRepository)
                    && h.operation().equals(of.operation())
                    && h.epoch() >= of.epoch()) {
                LOG.infof("event=command-given-up id=%s by=%s", of.id(), h.id());
                w.giveUp(h.phase() + " of operation " + h.operation());
            }
        }
        if (command instanceof Command.Abort) {
            try {
                withdraw(h);
            } catch (IOException e) {
                LOG.errorf(e, "event=journal-unwritable id=%s", h.id());
            }
        }
    }

    /** Notes, durably, that what an aborted operation has committed here is to be removed. */
    private void withdraw(Command.Header abort) throws IOException {
        for (int attempt = 1; attempt <= MOST_COMMITS; attempt++) {
            var id = new Command.Header(abort.operation(), abort.instance(), host, "commit", attempt, 0).id();
            CommandJournal.Entry e = journal.find(id).orElse(null);
            if (e != null
                    && e.command() instanceof Command.Commit c
                    && c.header().epoch() <= abort.epoch()) {
                String checkpoint = c.manifest().checkpoint();
                if (Names.valid(checkpoint)) {
                    Folders.writeDurably(
                            withdrawn.resolve(checkpoint), abort.id().getBytes(StandardCharsets.UTF_8));
                    withdrawSoon(checkpoint);
                }
                return;
            }
        }
    }

    void resumeWithdrawals() throws IOException {
        try (var dir = Files.list(withdrawn)) {
            dir.map(f -> f.getFileName().toString())
                    .filter(Names::valid)
                    .sorted()
                    .forEach(this::withdrawSoon);
        }
    }

    private void withdrawSoon(String checkpoint) {
        withdrawSoon(checkpoint, WITHDRAW_AGAIN);
    }

    /** On the thread of commits: one that is at work, or waits, has ended then. Once more later: what an abort cut off may still be on its way. */
    private void withdrawSoon(String checkpoint, Duration pause) {
        commits.execute(() -> {
            Path note = withdrawn.resolve(checkpoint);
            if (!Files.exists(note)) { // asked for twice
                return;
            }
            Duration again;
            try {
                ready.ensure();
                boolean removed = maintenance.withdraw(checkpoint);
                LOG.infof("event=checkpoint-withdrawn checkpoint=%s removed=%s", checkpoint, removed);
                again = Duration.between(
                        Instant.now(),
                        Files.getLastModifiedTime(note).toInstant().plus(ON_ITS_WAY));
                if (!again.isPositive()) {
                    Files.deleteIfExists(note);
                    return;
                }
            } catch (StorageException | IOException | RuntimeException e) {
                LOG.warnf("event=checkpoint-not-withdrawn checkpoint=%s reason=\"%s\"", checkpoint, e.getMessage());
                again = pause;
            }
            if (closed) {
                return; // the next start does it
            }
            Duration twice = pause.multipliedBy(2);
            var unused = ticker.schedule(
                    () -> withdrawSoon(checkpoint, twice.compareTo(ON_ITS_WAY) < 0 ? twice : ON_ITS_WAY),
                    again.toMillis(),
                    TimeUnit.MILLISECONDS);
        });
    }

    private void take(Command.ForStorage command, Command.Header h, String tooOld) throws IOException {
        boolean named = command instanceof Command.ForRepository ? h.instance() == null : Names.valid(h.instance());
        if (!named || h.operation() == null || h.phase() == null) {
            LOG.warnf("event=command-refused reason=\"bad header\" operation=%s", h.operation());
            return;
        }
        synchronized (this) {
            // of a repeat too: from then on nothing of an older one counts
            boolean admitted = epochs.admit(h.instance() == null ? REPOSITORY : h.instance(), h.epoch());
            if (running.containsKey(h.id())) {
                return;
            }
            Optional<CommandJournal.Entry> known = journal.find(h.id());
            if (known.isPresent() && known.get().end() != null) {
                LOG.infof("event=command-repeated id=%s", h.id());
                reports.publish(known.get().end());
                return;
            }
            if (!admitted) {
                reports.publish(new Report.Failed(
                        Report.Header.of(h, h.phase(), "failed"),
                        ErrorCode.STALE_EPOCH,
                        "host " + host + " has seen a newer epoch than " + h.epoch() + " of "
                                + (h.instance() == null ? "the repository" : h.instance()),
                        "another coordinator has taken over; nothing to do"));
                return;
            }
            if (tooOld != null) {
                LOG.warnf("event=command-too-old id=%s sent=\"%s\"", h.id(), tooOld);
                reports.publish(failed(
                        h,
                        ErrorCode.TOO_LATE,
                        "the command was sent at " + tooOld + " by the clock of host " + host
                                + ": too long to be of use",
                        "request the operation again; check that the hosts' clocks are synchronised"));
                return;
            }
            journal.write(new CommandJournal.Entry(command, null));
            begin(command);
        }
    }

    private void begin(Command.ForStorage command) {
        Work work = new Work(command);
        if (running.putIfAbsent(command.header().id(), work) == null) {
            ExecutorService on =
                    switch (command) {
                        case Command.Archive a -> archives;
                        case Command.Pull p -> pulls;
                        case Command.Commit c -> commits;
                        case Command.Hold c -> holding;
                        case Command.Release c -> holding;
                        case Command.Stats c -> holding;
                        case Command.ForRepository r -> keeping;
                    };
            on.execute(() -> run(work));
        }
    }

    private void run(Work work) {
        Command.ForStorage command = work.command;
        Command.Header h = command.header();
        LOG.infof(
                "event=command-begun id=%s instance=%s kind=%s",
                h.id(), h.instance(), command.getClass().getSimpleName());
        Progress progress = new Progress();
        long[] told = {-1, 0};
        var ticks = ticker.scheduleAtFixedRate(() -> tell(h, progress, told), 1, 1, TimeUnit.SECONDS);
        Report end;
        try {
            work.begin();
            inTime(h);
            ready.ensure();
            end = execute(command, progress);
            tellLast(h, progress, told);
        } catch (StorageException e) {
            end = work.givenUp() != null ? aborted(h, work) : failed(h, e.code(), e.getMessage(), e.remedy());
        } catch (InterruptedException e) {
            if (work.givenUp() == null) {
                return;
            }
            end = aborted(h, work);
        } catch (IOException e) {
            end = work.givenUp() != null
                    ? aborted(h, work) // a channel that was interrupted
                    : failed(h, ErrorCode.IO_FAILED, e.toString(), "look at the host's disk");
        } catch (RuntimeException | Error e) {
            if (work.givenUp() != null && e instanceof RuntimeException) {
                LOG.infof("event=command-interrupted id=%s reason=\"%s\"", h.id(), e);
                end = aborted(h, work); // minio-java's way to tell of an interrupt
            } else {
                LOG.errorf(e, "event=command-broke id=%s", h.id());
                end = failed(h, ErrorCode.INTERNAL, e.toString(), "report this with the service's log");
            }
        } finally {
            ticks.cancel(false);
            work.end();
        }
        if (closed) {
            return; // the next start does it again
        }
        if (end instanceof Report.Failed f) {
            LOG.warnf("event=command-failed id=%s code=%s message=\"%s\"", h.id(), f.code(), f.message());
        } else {
            LOG.infof("event=command-done id=%s", h.id());
        }
        synchronized (this) {
            try {
                journal.write(new CommandJournal.Entry(command, end));
            } catch (IOException e) {
                LOG.errorf(e, "event=journal-unwritable id=%s", h.id());
            }
            running.remove(h.id());
        }
        synchronized (told) {
            told[1] = Long.MAX_VALUE;
            reports.publish(end);
        }
    }

    private Report execute(Command.ForStorage command, Progress progress)
            throws StorageException, InterruptedException, IOException {
        Command.Header h = command.header();
        return switch (command) {
            case Command.Archive a -> {
                Archiver.Result r = archiver.archive(a.checkpoint(), a.vms(), progress);
                marks.archived(a.checkpoint(), a.vms());
                yield new Report.Archived(Report.Header.of(h, "archive", "done"), r.vms(), r.figures());
            }
            case Command.Commit c -> {
                Repository.Committed r = repository.commit(c.manifest());
                marks.committed(c.manifest().checkpoint());
                yield new Report.Committed(Report.Header.of(h, "commit", "done"), r.key(), r.sha256(), c.manifest());
            }
            case Command.Pull p -> {
                long start = System.nanoTime();
                Claims.claim(images, p.checkpoint(), h.operation());
                long bytes = puller.pull(p.checkpoint(), p.manifestKey(), p.vms(), progress);
                yield new Report.Pulled(
                        Report.Header.of(h, "pull", "done"), bytes, (System.nanoTime() - start) / 1_000_000);
            }
            case Command.ForRepository r -> maintenance.execute(r, progress, reports::publish);
        };
    }

    /** A command for whose answer nobody waits any more has failed for whoever asked for it: it must not be done all the same. */
    private void inTime(Command.Header h) throws StorageException {
        Instant now = Instant.now();
        if (h.answerBy() != null && now.isAfter(h.answerBy())) {
            throw new StorageException(
                    ErrorCode.TOO_LATE,
                    "its turn came at " + now + " on host " + host + ", and nobody waited for it after " + h.answerBy(),
                    "request the operation again, when what was at work on the repository before it has ended");
        }
    }

    private static Report aborted(Command.Header h, Work work) {
        return failed(h, ErrorCode.ABORTED, "given up: " + work.givenUp(), "see why the operation failed");
    }

    private static Report failed(Command.Header h, ErrorCode code, String message, String remedy) {
        return new Report.Failed(Report.Header.of(h, h.phase(), "failed"), code, message, remedy);
    }

    /** Publishes progress where there is some. */
    private void tell(Command.Header h, Progress p, long[] told) {
        synchronized (told) {
            long done = p.done();
            if (done == told[0] || p.total() == 0 || told[1] == Long.MAX_VALUE) {
                return;
            }
            told[0] = done;
            told[1]++;
            reports.publish(Report.Progress.of(
                    new Report.Header(
                            h.operation(), h.instance(), h.host(), h.phase(), h.attempt(), h.epoch(), "progress", (int)
                                    told[1]),
                    done,
                    p.total(),
                    p.unit(),
                    p.pace()));
        }
    }

    /** Who was told of progress is told of its end, too. */
    private void tellLast(Command.Header h, Progress p, long[] told) {
        synchronized (told) {
            if (told[1] > 0) {
                tell(h, p, told);
            }
        }
    }

    /** Ends; what is at work is done again by the next start. */
    @Override
    public void close() {
        closed = true;
        archives.shutdownNow();
        pulls.shutdownNow();
        commits.shutdownNow();
        keeping.shutdownNow();
        holding.shutdownNow();
        ticker.shutdownNow();
    }
}
