package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.WrapKey;
import io.holdfast.storage.maintenance.Keeper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Many small archives leave many small packs: a prune joins them on a real S3 server, and no checkpoint loses a byte at any step. */
class JoinIT extends BucketTest {
    private static final int CHECKPOINTS = 14;
    private static final int FULL = 1 << 20;
    private static final int SMALL_PERCENT = 25;

    private TestHost host;
    private Keeper keeper;

    private static String id(int n) {
        return "cp-20260101t0000%02dz-abcdef".formatted(n);
    }

    private static Command.Header header(String phase) {
        return new Command.Header("op-1", null, "h1", phase, 1, 1);
    }

    private Report run(Command.ForRepository c) throws Exception {
        return keeper.execute(c, new Progress(), r -> {});
    }

    private PruneResult prune() throws Exception {
        return ((Report.Pruned) run(new Command.Prune(header("prune"), false))).result();
    }

    private VerifyResult verify() throws Exception {
        return ((Report.Verified) run(new Command.Verify(header("verify"), null, 100))).result();
    }

    /** A VM of three chunks that no other has, between holes. */
    private void image(String checkpoint, int seed) throws Exception {
        byte[] chunk = new byte[3 * 65536];
        new Random(seed).nextBytes(chunk);
        Path folder = Files.createDirectories(host.image(checkpoint, "a"));
        byte[] memory = new byte[16 * 65536];
        for (int i = 0; i < 3; i++) {
            System.arraycopy(chunk, i * 65536, memory, (seed + 5 * i) % 16 * 65536, 65536);
        }
        Files.write(folder.resolve("ram.img"), memory);
        Files.writeString(folder.resolve("machine.json"), "{\"seed\":" + seed + "}");
    }

    private Archiver.Result archived(String checkpoint, int seed) throws Exception {
        image(checkpoint, seed);
        Archiver.Result r = TestHost.archive(host, checkpoint, "a");
        TestHost.commit(host, checkpoint, r);
        return r;
    }

    private void allComeBackTo(TestHost reader, List<String> checkpoints) throws Exception {
        for (String cp : checkpoints) {
            reader.pull(cp, "a");
            for (String file : List.of("ram.img", "machine.json")) {
                assertThat(Files.mismatch(
                                host.image(cp, "a").resolve(file),
                                reader.image(cp, "a").resolve(file)))
                        .as("%s of %s", file, cp)
                        .isEqualTo(-1);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void smallPacksAreJoined_theOldOnesGoAfterTheGracePeriod_andEveryCheckpointComesBackAtEveryStep(boolean encrypted)
            throws Exception {
        // Given: an archive each of a few chunks, one of them forgotten, all older than the grace period; and a reader
        // that knows the indexes as they are
        WrapKey key = encrypted ? WrapKey.parse("0123456789abcdef".repeat(4), "test") : null;
        host = host("h1", store, key);
        keeper = keeper(store, host.repository(), host.state(), SMALL_PERCENT);
        List<String> all = new ArrayList<>();
        for (int n = 0; n < CHECKPOINTS; n++) {
            archived(id(n), n);
            all.add(id(n));
        }
        TestHost warm = host("warm", store, key);
        allComeBackTo(warm, List.of(all.get(0)));
        run(new Command.Forget(header("forget"), List.of(all.get(3)), null, null, List.of(), false));
        all.remove(3);
        List<Stored> before = store.list(KEYS.packs());
        List<String> old = before.stream().map(Stored::key).toList();
        assertThat(before)
                .hasSizeGreaterThanOrEqualTo(CHECKPOINTS)
                .allMatch(s -> s.bytes() < FULL / 100 * SMALL_PERCENT);
        assertThat(prune().repackedPacks()).as("of young packs").isZero();
        pass(Duration.ofDays(3));

        // When
        PruneResult joined = prune();

        // Then: copies are there besides, all but of what nobody needs, and nothing is uploaded again
        List<String> fresh = new ArrayList<>(keys(KEYS.packs()));
        fresh.removeAll(old);
        long live = before.stream().mapToLong(Stored::bytes).sum();
        assertThat(joined.repackedPacks() + joined.markedPacks()).isEqualTo(old.size());
        assertThat(joined.markedPacks()).as("of the forgotten one").isPositive();
        assertThat(joined.deletedPacks()).isZero();
        assertThat(joined.copiedBytes()).isBetween(live / CHECKPOINTS * (CHECKPOINTS - 2), live);
        assertThat(keys(KEYS.packs())).containsAll(old);
        assertThat(fresh).as("packs of up to %d bytes for %d", FULL, live).hasSizeBetween(1, (int) (live / FULL) + 2);
        assertThat(verify().damages()).isEmpty();
        allComeBackTo(host("meanwhile", store, key), all);
        String twin = id(CHECKPOINTS);
        assertThat(archived(twin, 5).figures().newBytes())
                .as("bytes that no pack has")
                .isZero();
        all.add(twin);

        // When the grace period is over
        pass(Duration.ofDays(2));
        PruneResult swept = prune();

        // Then
        assertThat(swept.deletedPacks()).isEqualTo(old.size());
        assertThat(swept.repackedPacks()).isZero();
        assertThat(keys(KEYS.packs())).containsExactlyInAnyOrderElementsOf(fresh);
        assertThat(keys(KEYS.gc())).isEmpty();
        VerifyResult sound = verify();
        assertThat(sound.sound()).isTrue();
        assertThat(sound.damages()).isEmpty();
        assertThat(sound.checkpoints()).isEqualTo(CHECKPOINTS);
        assertThat(sound.packsRead()).isEqualTo(fresh.size());
        allComeBackTo(host("cold", store, key), all);
        allComeBackTo(warm, all);
        PruneResult again = prune();
        assertThat(IntStream.of(again.markedPacks(), again.repackedPacks(), again.deletedPacks()))
                .as("nothing is left to do")
                .containsOnly(0);
        assertThat(keys(KEYS.packs())).containsExactlyInAnyOrderElementsOf(fresh);
    }
}
