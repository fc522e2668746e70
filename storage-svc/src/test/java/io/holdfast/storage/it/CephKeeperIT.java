package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.storage.domain.StorageException;
import io.minio.ListObjectsArgs;
import io.minio.MakeBucketArgs;
import io.minio.MinioClient;
import io.minio.RemoveObjectArgs;
import io.minio.Result;
import io.minio.SetObjectLockConfigurationArgs;
import io.minio.errors.ErrorResponseException;
import io.minio.messages.Item;
import io.minio.messages.ObjectLockConfiguration;
import io.minio.messages.RetentionDurationDays;
import io.minio.messages.RetentionMode;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Work on a repository on Ceph, also in a bucket with S3 Object Lock. */
class CephKeeperIT extends KeeperIT {
    @Override
    Server start() throws Exception {
        return CephServer.forTests(base.resolve("ceph"));
    }

    private MinioClient client;

    /** Past our own code, as somebody with the account's rights would do it. */
    private MinioClient client() {
        if (client == null) {
            client = MinioClient.builder()
                    .endpoint(endpoint())
                    .region("us-east-1")
                    .credentials(accessKey(), secretKey())
                    .build();
        }
        return client;
    }

    private void useLockingBucket(Duration grace) throws Exception {
        bucket = bucket + "-lock";
        client().makeBucket(MakeBucketArgs.builder()
                .bucket(bucket)
                .region("us-east-1")
                .objectLock(true)
                .build());
        store = connect(Duration.ofSeconds(60));
        use(null, grace);
    }

    /** Every version in the bucket, and every mark of a deletion. */
    private List<Item> versions() throws Exception {
        List<Item> list = new ArrayList<>();
        for (Result<Item> r : client().listObjects(ListObjectsArgs.builder()
                .bucket(bucket)
                .recursive(true)
                .includeVersions(true)
                .build())) {
            list.add(r.get());
        }
        return list;
    }

    @Test
    void whatAHoldLocksNobodyCanDelete_andNoForgetHidesIt() throws Exception {
        useLockingBucket(Duration.ofDays(1));
        two();
        Instant until = Instant.now().plusSeconds(3600);
        var held = hold(CP1, until);
        assertThat(held.locked()).isTrue();
        assertThat(held.note()).contains("refuses to delete");

        int locked = 0;
        for (Item v : versions()) {
            boolean needed = v.objectName().equals(KEYS.checkpoint(CP1))
                    || v.objectName().equals(KEYS.vm(CP1, "a"));
            Instant its = store.lockedUntil(v.objectName()).orElse(null);
            if (its == null) {
                assertThat(needed).as("%s must be locked", v.objectName()).isFalse();
                continue;
            }
            locked++;
            assertThat(its).isBetween(until.minusSeconds(1), until.plusSeconds(1));
            assertThatThrownBy(() -> client().removeObject(RemoveObjectArgs.builder()
                            .bucket(bucket)
                            .object(v.objectName())
                            .versionId(v.versionId())
                            .bypassGovernanceMode(true)
                            .build()))
                    .isInstanceOfSatisfying(
                            ErrorResponseException.class,
                            e -> assertThat(e.errorResponse().code()).isEqualTo("AccessDenied"));
        }
        // config, both manifests, packs of CP1 (how many depends on the archive's threads) and not those of CP2 alone
        assertThat(locked - 3).isBetween(1, keys(KEYS.packs()).size() - 1);

        release(CP1);
        assertThatThrownBy(() -> forget(CP1))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("locked in the bucket until");
        var kept = forget(new KeepPolicy(1, null, null, null, null), false).kept();
        assertThat(kept).anySatisfy(e -> {
            assertThat(e.checkpoint()).isEqualTo(CP1);
            assertThat(e.reasons()).containsExactly("retained");
        });
        assertThat(verify(null, 100).sound()).isTrue();
    }

    @Test
    void whatIsNotThereCannotBeLocked_andWhatTheBucketLocksOfItselfIsKnown() throws Exception {
        useLockingBucket(Duration.ofDays(1));
        assertThat(store.retention()).isZero();
        String key = KEYS.hold("cp-x");
        store.put(key, new byte[1], 0, 1);
        store.delete(key); // a mark over a version

        for (String k : List.of(key, KEYS.hold("cp-never"))) {
            assertThatThrownBy(() -> store.lock(k, Instant.now().plusSeconds(3600)))
                    .isInstanceOfSatisfying(StorageException.class, e -> assertThat(e.isMissing())
                            .isTrue());
        }
        client().setObjectLockConfiguration(SetObjectLockConfigurationArgs.builder()
                .bucket(bucket)
                .config(new ObjectLockConfiguration(RetentionMode.COMPLIANCE, new RetentionDurationDays(2)))
                .build());
        assertThat(store.retention()).isEqualTo(Duration.ofDays(2));
        store.put(key, new byte[1], 0, 1);
        Instant kept = store.time(key).plus(store.retention());
        assertThat(store.lockedUntil(key))
                .hasValueSatisfying(t -> assertThat(t).isBetween(kept.minusSeconds(60), kept.plusSeconds(60)));
    }

    @Test
    void whatIsLockedForLongerStaysSo_andIsNoObstacleToAHold() throws Exception {
        // Given: a checkpoint that is held for an hour; another one needs some of its objects, config among them
        useLockingBucket(Duration.ofDays(1));
        two();
        Instant later = Instant.now().plusSeconds(3600);
        assertThat(hold(CP1, later).locked()).isTrue();

        // When: the other is held for half of it, and the first one again for less
        Instant earlier = Instant.now().plusSeconds(1800);
        assertThat(hold(CP2, earlier).locked()).isTrue();
        assertThat(hold(CP1, earlier).locked()).isTrue();

        // Then: nothing that was locked is locked for less
        for (String key : List.of(KEYS.config(), KEYS.checkpoint(CP1), KEYS.vm(CP1, "a"))) {
            assertThat(store.lockedUntil(key))
                    .hasValueSatisfying(t -> assertThat(t).isBetween(later.minusSeconds(1), later.plusSeconds(1)));
        }
        assertThat(store.lockedUntil(KEYS.checkpoint(CP2)))
                .hasValueSatisfying(t -> assertThat(t).isBetween(earlier.minusSeconds(1), earlier.plusSeconds(1)));

        // and a bucket that locks every object for longer of itself is none either
        client().setObjectLockConfiguration(SetObjectLockConfigurationArgs.builder()
                .bucket(bucket)
                .config(new ObjectLockConfiguration(RetentionMode.COMPLIANCE, new RetentionDurationDays(2)))
                .build());
        checkpoint("cp-3", 3, Instant.parse("2026-01-03T00:00:00Z"));
        assertThat(hold("cp-3", earlier).locked()).isTrue();
        assertThat(store.lockedUntil(KEYS.checkpoint("cp-3")))
                .hasValueSatisfying(t -> assertThat(t).isAfter(later.plusSeconds(3600)));
    }

    @Test
    void aRetainedPackThatNobodyNeedsIsNotHiddenByAPrune() throws Exception {
        useLockingBucket(SHORT);
        two();
        checkpoint("cp-3", 3, Instant.parse("2026-01-03T00:00:00Z"));
        Instant until = Instant.now().plusSeconds(3600);
        assertThat(hold(CP1, until).locked()).isTrue();
        List<String> before = keys(KEYS.packs());

        // somebody hides the checkpoint past us: its packs are needed by nobody, and locked
        store.delete(KEYS.checkpoint(CP1));
        forget(CP2);
        // packs become old one after another: all of them are swept when what waits still waits for its lock
        var deleted = new AtomicInteger();
        PruneResult swept = await().atMost(Duration.ofMinutes(5))
                .pollInterval(Duration.ofSeconds(2))
                .until(
                        () -> {
                            PruneResult p = prune(false);
                            deleted.addAndGet(p.deletedPacks());
                            return p;
                        },
                        p -> deleted.get() > 0
                                && p.markedPacks() == 0
                                && p.nextAt() != null
                                && !p.nextAt().isBefore(until.minusSeconds(1)));
        PruneResult after = prune(false);

        List<String> left = keys(KEYS.packs());
        assertThat(left).hasSize(before.size() - deleted.get());
        assertThat(after.deletedPacks()).isZero();
        assertThat(after.waitingPacks()).isEqualTo(swept.waitingPacks()).isPositive();
        assertThat(after.nextAt()).isBetween(until.minusSeconds(1), until.plusSeconds(1));
        for (String pack : before) {
            assertThat(left.contains(pack) || store.lockedUntil(pack).isEmpty())
                    .as("%s is there, or was not locked", pack)
                    .isTrue();
        }
        assertThat(verify("cp-3", 100).sound()).isTrue();
        // the bucket has versions: what was deleted is behind a mark until a lifecycle rule takes it away
        assertThat(versions().stream()
                        .filter(v -> !v.isDeleteMarker() && v.objectName().startsWith(KEYS.packs())))
                .hasSize(before.size());
    }
}
