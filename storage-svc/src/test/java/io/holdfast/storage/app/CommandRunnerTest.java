package io.holdfast.storage.app;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which commands on the repository wait for which, and what becomes of those that waited too long. */
class CommandRunnerTest {
    @TempDir
    Path folder;

    private final LinkedBlockingQueue<Report> reports = new LinkedBlockingQueue<>();
    private final ConcurrentLinkedQueue<String> begun = new ConcurrentLinkedQueue<>();
    private final LinkedBlockingQueue<String> withdrawn = new LinkedBlockingQueue<>();
    private final AtomicBoolean firstFails = new AtomicBoolean(true);
    private final CountDownLatch verifyMayEnd = new CountDownLatch(1);
    private CommandRunner runner;

    /** A verify takes as long as the test wants; everything else is done at once. */
    private final CommandRunner.Maintenance maintenance = new CommandRunner.Maintenance() {
        @Override
        public Report execute(Command.ForRepository c, Progress progress, Consumer<Report> more)
                throws StorageException, InterruptedException {
            begun.add(c.header().phase());
            if (c instanceof Command.Verify) {
                verifyMayEnd.await();
            }
            return new Report.Released(Report.Header.of(c.header(), c.header().phase(), "done"), "cp-1");
        }

        @Override
        public boolean withdraw(String checkpoint) throws StorageException {
            withdrawn.add(checkpoint);
            if (firstFails.getAndSet(false)) {
                throw new StorageException(ErrorCode.REPOSITORY_UNAVAILABLE, "the bucket is away", "wait");
            }
            return true;
        }
    };

    @BeforeEach
    void start() throws IOException {
        runner = runner();
        runner.accept(new Command.Verify(header("verify"), null, 100));
    }

    private CommandRunner runner() throws IOException {
        var settings = new Settings("h1", folder.resolve("images"), folder.resolve("state"), 4096, 1 << 20, 1, 1);
        return new CommandRunner(
                settings,
                new CommandJournal(settings.state()),
                null,
                null,
                null,
                maintenance,
                null,
                () -> {},
                reports::add);
    }

    @AfterEach
    void end() {
        runner.close();
    }

    private static Command.Header header(String phase) {
        return new Command.Header("op-" + phase, null, "h1", phase, 1, 1);
    }

    private Report next() throws InterruptedException {
        Report r = reports.poll(30, TimeUnit.SECONDS);
        assertThat(r).as("a report").isNotNull();
        return r;
    }

    private static Command.Forget forget(Command.Header h) {
        return new Command.Forget(h, List.of("cp-1"), null, null, List.of(), false);
    }

    @Test
    void holdReleaseAndStatsWaitForNoVerify_andAForgetDoes() throws Exception {
        runner.accept(forget(header("forget")));
        runner.accept(new Command.Hold(header("hold"), "cp-1", null, null));
        runner.accept(new Command.Release(header("release"), "cp-1"));
        runner.accept(new Command.Stats(header("stats"), null));

        assertThat(List.of(next(), next(), next()))
                .extracting(r -> r.header().phase())
                .containsExactly("hold", "release", "stats");
        assertThat(begun).doesNotContain("forget");
        verifyMayEnd.countDown();
        assertThat(List.of(next(), next())).extracting(r -> r.header().phase()).containsExactly("verify", "forget");
    }

    @Test
    void whatNobodyWaitsForAnyMoreIsNotBegun_alsoNotByTheNextStart() throws Exception {
        // Given: a forget whose limit is over before its turn comes, and one whose limit is not
        Instant limit = Instant.now();
        runner.accept(forget(header("forget").by(limit)));
        runner.accept(new Command.Prune(header("prune").by(limit.plusSeconds(3600)), false));

        // When
        verifyMayEnd.countDown();

        // Then
        assertThat(next().header().phase()).isEqualTo("verify");
        assertThat(next()).isInstanceOfSatisfying(Report.Failed.class, f -> {
            assertThat(f.header().phase()).isEqualTo("forget");
            assertThat(f.code()).isEqualTo(ErrorCode.TOO_LATE);
            assertThat(f.message()).contains(limit.toString());
        });
        assertThat(next().header().phase()).isEqualTo("prune");
        assertThat(begun).containsExactly("verify", "prune");
    }

    /** A commit that is done. */
    private static CommandJournal.Entry committed(Command.Header h, String checkpoint) {
        var m = new CheckpointManifest(
                1,
                checkpoint,
                "net",
                null,
                Instant.EPOCH,
                new InstanceLayout("net", null, List.of(), Map.of()),
                List.of(),
                List.of(),
                new CutFigures(List.of()));
        return new CommandJournal.Entry(
                new Command.Commit(h, m),
                new Report.Committed(Report.Header.of(h, "commit", "done"), "checkpoints/" + checkpoint, "0", m));
    }

    @Test
    void whatAnAbortedOperationHasCommittedIsRemoved_againUntilItIsDone_andNothingOfOthers() throws Exception {
        // Given: two commits that are done
        var journal = new CommandJournal(folder.resolve("state"));
        for (String n : List.of("1", "2")) {
            var h = new Command.Header("op-" + n, "net", "h1", "commit", 3, 5);
            journal.write(committed(h, "cp-" + n));
        }

        // When
        runner.accept(new Command.Abort(new Command.Header("op-3", "net", "h1", "abort", 1, 5), "cp-3", "why"));
        runner.accept(new Command.Abort(new Command.Header("op-2", "net", "h1", "abort", 1, 4), "cp-2", "old epoch"));
        runner.accept(new Command.Abort(new Command.Header("op-1", "net", "h1", "abort", 1, 5), "cp-1", "why"));

        // Then: once in vain, and once more; the note stays for what an abort may have cut off and is still on its way
        assertThat(withdrawn.poll(30, TimeUnit.SECONDS)).isEqualTo("cp-1");
        assertThat(withdrawn.poll(30, TimeUnit.SECONDS)).isEqualTo("cp-1");
        runner.close();
        Path note = folder.resolve("state/withdrawn/cp-1");
        assertThat(note).exists();
        assertThat(withdrawn).isEmpty();

        // And one of which nothing can be on its way any longer goes, the young one stays
        Path aged = Files.writeString(note.resolveSibling("cp-9"), "op-9");
        Files.setLastModifiedTime(aged, FileTime.from(Instant.now().minus(Duration.ofMinutes(7))));
        runner = runner();
        runner.resumeWithdrawals();
        await().untilAsserted(() -> assertThat(withdrawn).contains("cp-9"));
        await().untilAsserted(() -> assertThat(aged).doesNotExist());
        assertThat(note).exists();
    }

    @Test
    void anAbortOfACoordinatorThatWasReplacedWithdrawsNothing_alsoWhereTheNewOneHasOnlyAskedAgain() throws Exception {
        // Given a commit that the old coordinator commanded, and the new one, which was told of its end
        var h = new Command.Header("op-1", "net", "h1", "commit", 1, 5);
        CommandJournal.Entry old = committed(h, "cp-1");
        new CommandJournal(folder.resolve("state")).write(old);
        var m = ((Command.Commit) old.command()).manifest();
        runner.accept(new Command.Commit(new Command.Header("op-1", "net", "h1", "commit", 1, 6), m));
        assertThat(next()).isInstanceOf(Report.Committed.class);

        // When
        runner.accept(new Command.Abort(new Command.Header("op-1", "net", "h1", "abort", 1, 5), "cp-1", "late"));

        // Then
        assertThat(folder.resolve("state/withdrawn")).isEmptyDirectory();
        runner.accept(new Command.Abort(new Command.Header("op-1", "net", "h1", "abort", 1, 6), "cp-1", "why"));
        assertThat(folder.resolve("state/withdrawn/cp-1")).exists();
    }

    @Test
    void theTimeIsKnownToTheJournal() throws Exception {
        Instant limit = Instant.now();
        runner.accept(forget(header("forget").by(limit)));
        runner.close(); // the verify is cut off, the forget never had its turn
        begun.clear();
        verifyMayEnd.countDown();

        List<Command.ForStorage> left = new CommandJournal(folder.resolve("state")).unfinished(Duration.ofDays(1));

        assertThat(left).extracting(c -> c.header().answerBy()).containsExactlyInAnyOrder(null, limit);
    }
}
