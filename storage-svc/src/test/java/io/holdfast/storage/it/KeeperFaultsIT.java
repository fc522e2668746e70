package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.devstack.FaultProxy.Fault;
import io.holdfast.devstack.FaultProxy.Seen;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.maintenance.Keeper;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Work on a repository behind a proxy that does what networks and servers do at their worst: each command is done, or fails by a code, and
 * whatever becomes of it, every checkpoint that was not forgotten can be restored, and the work can be done once the fault is over.
 */
class KeeperFaultsIT extends ProxiedBucketTest {
    private static final Set<ErrorCode> CODES = Set.of(ErrorCode.REPOSITORY_UNAVAILABLE, ErrorCode.REPOSITORY_BUSY);
    private static final String CP3 = "cp-20260103t000000z-cccccc";

    private S3ObjectStore direct;
    private TestHost host;

    @Override
    Duration silence() {
        return Duration.ofSeconds(1);
    }

    private Keeper keeper(S3ObjectStore its) throws Exception {
        TestHost h = host("keeper-" + its.hashCode(), its, null);
        return keeper(its, h.repository(), h.state());
    }

    private static Command.Header header(String phase) {
        return new Command.Header("op-1", null, "h1", phase, 1, 1);
    }

    private static Report run(Keeper keeper, Command.ForRepository c) throws StorageException, InterruptedException {
        return keeper.execute(c, new Progress(), r -> {});
    }

    private static Command.ForRepository verify() {
        return new Command.Verify(header("verify"), null, 100);
    }

    private static Command.ForRepository prune() {
        return new Command.Prune(header("prune"), false);
    }

    private static Command.ForRepository rebuild() {
        return new Command.Rebuild(header("rebuild"), false);
    }

    private static Command.ForRepository forget() {
        return new Command.Forget(header("forget"), List.of(CP3), null, null, List.of(), false);
    }

    private void checkpoint(String id, long seed) throws Exception {
        TestImage.write(host.image(id, "a"), 6 << 20, seed);
        TestHost.commit(host, id, TestHost.archive(host, id, "a"));
    }

    private static Predicate<Seen> which(String method, int every) {
        AtomicInteger count = new AtomicInteger();
        return s -> (method.equals("ANY") || s.method().equals(method)) && count.incrementAndGet() % every == 0;
    }

    /** What one command came to: done, or failed by a code. */
    private static Report tried(Keeper keeper, Command.ForRepository c, boolean passes) throws Exception {
        try {
            return run(keeper, c);
        } catch (StorageException e) {
            assertThat(e.code()).as("code of %s", e.getMessage()).isIn(CODES);
            assertThat(passes)
                    .as("a fault that passes only delays: %s", e.getMessage())
                    .isFalse();
            return null;
        }
    }

    @ParameterizedTest
    @CsvSource({
        "SLOW_DOWN, ANY, 3, true",
        "INTERNAL_ERROR, ANY, 3, true",
        "CUT_ANSWER, ANY, 3, true",
        "LOSE_ANSWER, ANY, 3, true",
        "SILENCE, ANY, 20, true",
        "SLOW_DOWN, GET, 1, false",
        "SILENCE, DELETE, 1, false",
        "DENIED, GET, 4, false",
        "DENIED, GET, 7, false",
        "DENIED, HEAD, 1, false",
        "DENIED, PUT, 2, false",
        "DENIED, DELETE, 1, false",
        "DENIED, DELETE, 2, false"
    })
    void workUnderFaultsIsDoneOrFailsByCode_losesNothingThatIsNeeded_andIsDoneAfterwards(
            Fault fault, String method, int every, boolean passes) throws Exception {
        // Given: three checkpoints, and what an archive without a commit left, marked
        direct = connect(s3.endpoint(), secretKey(), Duration.ofSeconds(60));
        host = host("h1", direct, null);
        checkpoint(CP, 1);
        checkpoint(CP2, 2);
        checkpoint(CP3, 3);
        TestImage.write(host.image("cp-lost", "a"), 4 << 20, 9);
        TestHost.archive(host, "cp-lost", "a");
        pass(Duration.ofDays(3));
        Keeper whole = keeper(direct);
        run(whole, prune());
        pass(Duration.ofDays(2));
        Keeper suffering = keeper(
                connect(proxy.endpoint(), secretKey(), passes ? Duration.ofSeconds(60) : Duration.ofMillis(300)));

        // When
        AtomicInteger done = proxy.inject(fault, 0, which(method, every));
        List<Report> reports = new ArrayList<>();
        for (Command.ForRepository c : List.of(verify(), prune(), forget(), rebuild(), prune(), verify())) {
            reports.add(tried(suffering, c, passes));
            if (c instanceof Command.Forget) {
                pass(Duration.ofDays(3));
            }
        }
        proxy.heal();

        // Then
        assertThat(done.get()).as("requests that suffered").isPositive();
        assertThat(reports).allSatisfy(r -> {
            if (r instanceof Report.Verified v) {
                assertThat(v.result().damages()).as("damage that there is not").isEmpty();
            }
        });
        run(whole, rebuild());
        VerifyResult now = ((Report.Verified) run(whole, verify())).result();
        assertThat(now.damages()).isEmpty();
        TestHost reader = host("reader", direct, null);
        for (String id : List.of(CP, CP2)) {
            reader.pull(id, "a");
            TestImage.assertSame(host.image(id, "a"), reader.image(id, "a"));
        }
        run(whole, forget());
        pass(Duration.ofDays(3));
        run(whole, prune());
        pass(Duration.ofDays(2));
        run(whole, prune());
        assertThat(((Report.Verified) run(whole, verify())).result().sound()).isTrue();
        assertThat(keys(KEYS.checkpoints())).containsExactly(KEYS.checkpoint(CP), KEYS.checkpoint(CP2));
        assertThat(keys(KEYS.vms())).containsExactly(KEYS.vm(CP, "a"), KEYS.vm(CP2, "a"));
    }
}
