package io.holdfast.storage.it;

import static io.holdfast.storage.it.TestHost.archive;
import static io.holdfast.storage.it.TestHost.commit;
import static io.holdfast.storage.it.TestHost.failure;
import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.devstack.FaultProxy;
import io.holdfast.devstack.FaultProxy.Fault;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.adapter.cli.StorageTool;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** An encrypted repository on a real S3 server. */
class EncryptionIT extends BucketTest {
    private static final String SETTING = "holdfast.storage.key";

    private final String secret = WrapKey.random();

    private TestHost host(String name, String key) throws Exception {
        return host(name, store, key == null ? null : WrapKey.parse(key, SETTING));
    }

    @Test
    void chunksAreSharedAsWithoutEncryptionAndARepeatGivesTheSameManifest() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestHost two = host("h2", secret);
        TestImage.write(one.image(CP, "a"), 16 << 20, 1);
        TestImage.write(two.image(CP2, "b"), 16 << 20, 1);
        Archiver.Result first = archive(one, CP, "a");

        // When
        Archiver.Result again = archive(one, CP, "a");
        Archiver.Result other = archive(two, CP2, "b");

        // Then
        assertThat(again.vms()).isEqualTo(first.vms());
        assertThat(again.figures().newBytes()).isZero();
        assertThat(other.figures().newBytes()).isZero();
    }

    @Test
    void anotherKeyNoKeyAndAKeyForAPlainRepositoryAreRefusedByCodeNamingTheSetting() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));

        // When
        StorageException wrong = failure(() -> host("h2", WrapKey.random()).pull(CP, "a"));
        StorageException none = failure(() -> host("h3", null).pull(CP, "a"));
        TestHost archiver = host("h4", null);
        TestImage.write(archiver.image(CP2, "a"), 1 << 20, 1);
        StorageException archive = failure(() -> archive(archiver, CP2, "a"));
        int before = keys("").size();

        // Then
        for (StorageException e : List.of(wrong, none, archive)) {
            assertThat(e.code()).isEqualTo(ErrorCode.WRONG_KEY);
            assertThat(e.getMessage() + e.remedy()).contains(SETTING).doesNotContain(secret);
        }
        assertThat(keys("")).hasSize(before);
        bucket = bucket + "-plain";
        store = connect(Duration.ofSeconds(60));
        store.check(true);
        host("h5", null).repository().open();
        StorageException plain = failure(() -> host("h6", secret).repository().open());
        assertThat(plain.code()).isEqualTo(ErrorCode.WRONG_KEY);
        assertThat(plain).hasMessageContaining("not encrypted").hasMessageContaining(SETTING);
    }

    @Test
    void twoServicesThatMakeTheRepositoryAtOnceHaveOneDataKey() throws Exception {
        makeAtOnce();
    }

    @ParameterizedTest
    @EnumSource(names = {"NO_CONDITIONAL_PUT", "IGNORE_CONDITION"})
    void twoServicesThatMakeTheRepositoryAtOnceHaveOneDataKeyAlsoOnAServerWithoutConditionalPut(Fault fault)
            throws Exception {
        try (FaultProxy proxy = FaultProxy.before(endpoint())) {
            AtomicInteger configs = new AtomicInteger();
            AtomicInteger done = proxy.inject(fault, 0, s -> {
                if (s.path().endsWith("/config")) { // each one later than the one before has read what it put
                    LockSupport.parkNanos(configs.getAndIncrement() * 300_000_000L);
                }
                return true;
            });
            proxy.latency(Duration.ofMillis(20));
            store = connect(proxy.endpoint(), secretKey(), Duration.ofSeconds(60));

            makeAtOnce();

            assertThat(done.get()).isGreaterThan(2);
            assertThat(keys(KEYS.proposals())).isEmpty();
        }
    }

    private void makeAtOnce() throws Exception {
        // Given
        List<TestHost> hosts = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            hosts.add(host("h" + i, secret));
            TestImage.write(hosts.get(i).image(CP, "v" + i), 1 << 20, i);
        }

        // When
        List<Archiver.Result> results = new ArrayList<>();
        // no parallel stream: the S3 client works in the common pool and would wait for itself
        try (ExecutorService threads = Executors.newFixedThreadPool(hosts.size())) {
            List<Future<Archiver.Result>> running = new ArrayList<>();
            for (int i = 0; i < hosts.size(); i++) {
                TestHost h = hosts.get(i);
                String vm = "v" + i;
                running.add(threads.submit(() -> archive(h, CP, vm)));
            }
            for (Future<Archiver.Result> r : running) {
                results.add(r.get());
            }
        }
        commit(hosts.get(0), CP, results.toArray(Archiver.Result[]::new));

        // Then
        TestHost reader = host("reader", secret);
        reader.pull(CP, "v0", "v1", "v2", "v3", "v4", "v5");
        for (int i = 0; i < 6; i++) {
            TestImage.assertSame(hosts.get(i).image(CP, "v" + i), reader.image(CP, "v" + i));
        }
    }

    @Test
    void objectsOfAnEncryptedRepositoryThatAreSwappedOrForgedAreRefused() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        TestImage.write(one.image(CP2, "a"), 1 << 20, 2);
        commit(one, CP, archive(one, CP, "a"));
        commit(one, CP2, archive(one, CP2, "a"));
        byte[] good = Files.readAllBytes(object(KEYS.checkpoint(CP)));

        // When: the older checkpoint under the newer one's name, and one that somebody without the key wrote
        Files.write(object(KEYS.checkpoint(CP2)), good);
        StorageException swapped = failure(() -> host("h2", secret).pull(CP2, "a"));
        TestHost plain = TestHost.of(folder, "forger", store, new Keys("other"), null);
        TestImage.write(plain.image(CP, "a"), 1 << 20, 3);
        commit(plain, CP, archive(plain, CP, "a"));
        Files.write(object(KEYS.checkpoint(CP)), Files.readAllBytes(object(new Keys("other").checkpoint(CP))));
        StorageException forged = failure(() -> host("h3", secret).pull(CP, "a"));

        // Then
        assertThat(swapped.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(swapped).hasMessageContaining(KEYS.checkpoint(CP2)).hasMessageContaining("another name");
        assertThat(forged.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(forged).hasMessageContaining("is not encrypted");
    }

    private record Said(int status, String out, String err) {}

    private Said tool(String key, String... words) {
        Map<String, String> properties = Map.of(
                "endpoint",
                endpoint(),
                "bucket",
                bucket,
                "prefix",
                "some/prefix",
                "access-key",
                accessKey(),
                "secret-key",
                secretKey(),
                "key",
                key == null ? "" : key);
        properties.forEach((k, v) -> System.setProperty("holdfast.storage." + k, v));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        try {
            int status = StorageTool.run(
                    words,
                    new PrintStream(out, true, StandardCharsets.UTF_8),
                    new PrintStream(err, true, StandardCharsets.UTF_8));
            return new Said(status, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
        } finally {
            properties.keySet().forEach(k -> System.clearProperty("holdfast.storage." + k));
        }
    }

    @Test
    void keyIsChangedByTheToolWhileServicesRunAndTheOldOneOpensNothingAfter() throws Exception {
        // Given
        TestHost old = host("h1", secret);
        TestImage.write(old.image(CP, "a"), 1 << 20, 1);
        TestImage.write(old.image(CP2, "a"), 1 << 20, 2);
        commit(old, CP, archive(old, CP, "a"));
        String oldId = WrapKey.parse(secret, SETTING).id();
        Said made = tool(null, "keys", "new");
        String fresh = made.out().strip();
        Path file = folder.resolve("new-key");
        Files.writeString(file, fresh);
        String newId = WrapKey.parse(fresh, SETTING).id();

        // When
        Said added = tool(secret, "keys", "add", file.toString());
        commit(old, CP2, archive(old, CP2, "a"));
        Said refused = tool(secret, "keys", "remove", oldId);
        Said removed = tool(fresh, "keys", "remove", oldId);
        Said listed = tool(fresh, "keys", "list");
        Said late = tool(secret, "keys", "list");

        // Then
        assertThat(added.status()).isZero();
        assertThat(added.out()).contains(oldId + "  configured").contains(newId);
        assertThat(refused.status()).isEqualTo(1);
        assertThat(refused.err()).contains("WRONG_KEY");
        assertThat(removed.status()).isZero();
        assertThat(listed.out().strip()).isEqualTo(newId + "  configured");
        assertThat(late.status()).isEqualTo(1);
        assertThat(late.err()).contains("WRONG_KEY").contains(SETTING).doesNotContain(secret);
        TestHost two = host("h2", fresh);
        two.pull(CP, "a");
        two.pull(CP2, "a");
        TestImage.assertSame(old.image(CP2, "a"), two.image(CP2, "a"));
        assertThat(failure(() -> host("h3", secret).pull(CP, "a")).code()).isEqualTo(ErrorCode.WRONG_KEY);
    }

    @Test
    void fetchBringsTheImagesOfACheckpointWithNothingButTheBucketAndTheKey() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestImage.write(one.image(CP, "a"), 2 << 20, 1);
        TestImage.write(one.image(CP, "b"), 1 << 20, 2);
        commit(one, CP, archive(one, CP, "a", "b"));
        Path target = folder.resolve("fetched");

        // When
        Said done = tool(secret, "fetch", CP, target.toString());
        Said unknown = tool(secret, "fetch", "cp-none", target.toString());

        // Then
        assertThat(done.status()).as(done.err()).isZero();
        TestImage.assertSame(one.image(CP, "a"), target.resolve(CP).resolve("a"));
        TestImage.assertSame(one.image(CP, "b"), target.resolve(CP).resolve("b"));
        assertThat(target.resolve(CP).resolve("checkpoint.json")).content().contains("net-a");
        assertThat(unknown.status()).isEqualTo(1);
        assertThat(unknown.err()).contains("UNKNOWN_CHECKPOINT");
    }

    /** Every file below a folder with its digest; of a checkpoint's manifest without the digests of VM manifests, which name keyed chunks. */
    private static Map<String, String> files(Path folder) throws Exception {
        Map<String, String> all = new TreeMap<>();
        try (var walk = Files.walk(folder)) {
            for (Path p : walk.toList()) {
                byte[] data = Files.isDirectory(p) ? new byte[0] : Files.readAllBytes(p);
                if (p.endsWith("checkpoint.json")) {
                    data = new String(data, StandardCharsets.UTF_8)
                            .replaceAll("\"manifestSha256\" : \"[0-9a-f]{64}\"", "")
                            .getBytes(StandardCharsets.UTF_8);
                }
                all.put(folder.relativize(p).toString(), ChunkId.of(data).hex());
            }
        }
        return all;
    }

    @Test
    void fetchGivesOfAnEncryptedRepositoryTheFilesThatItGivesOfAPlainOne() throws Exception {
        // Given: the same checkpoint in both
        String encrypted = bucket;
        Map<String, TestHost> hosts = new HashMap<>();
        for (String key : new String[] {secret, null}) {
            if (key == null) {
                bucket = encrypted + "-plain";
                store = connect(Duration.ofSeconds(60));
                store.check(true);
            }
            TestHost h = host("of-" + bucket, key);
            TestImage.write(h.image(CP, "a"), (2 << 20) + 4096, 1);
            TestImage.write(h.image(CP, "b"), 1 << 20, 2);
            commit(h, CP, archive(h, CP, "a", "b"));
            hosts.put(bucket, h);
        }

        // When
        Said ofPlain = tool(null, "fetch", CP, folder.resolve("plain").toString());
        bucket = encrypted;
        Said ofEncrypted = tool(secret, "fetch", CP, folder.resolve("clear").toString());

        // Then
        assertThat(ofPlain.status()).as(ofPlain.err()).isZero();
        assertThat(ofEncrypted.status()).as(ofEncrypted.err()).isZero();
        assertThat(files(folder.resolve("clear")))
                .isEqualTo(files(folder.resolve("plain")))
                .containsKeys(CP + "/a/ram.img", CP + "/b/devices.bin", CP + "/checkpoint.json");
        for (String vm : List.of("a", "b")) {
            TestImage.assertSame(
                    hosts.get(encrypted).image(CP, vm),
                    folder.resolve("clear").resolve(CP).resolve(vm));
        }
    }

    @Test
    void fetchWithoutTheKeyOrWithAnotherOneOrOfAnUnknownCheckpointIsRefusedAndLeavesNothing() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        Path none = folder.resolve("some/where");
        Path mine = Files.createDirectories(folder.resolve("mine"));
        Files.writeString(mine.resolve("notes"), "mine");
        Map<String, String> before = files(folder);

        for (Path target : List.of(none, mine)) {
            // When
            Said wrong = tool(WrapKey.random(), "fetch", CP, target.toString());
            Said without = tool(null, "fetch", CP, target.toString());
            Said unknown = tool(secret, "fetch", "cp-none", target.toString());

            // Then
            for (Said s : List.of(wrong, without)) {
                assertThat(s.status()).isEqualTo(1);
                assertThat(s.out()).isEmpty();
                assertThat(s.err())
                        .startsWith("fetch: WRONG_KEY ")
                        .contains(SETTING)
                        .doesNotContain(secret);
            }
            assertThat(unknown.status()).isEqualTo(1);
            assertThat(unknown.err()).startsWith("fetch: UNKNOWN_CHECKPOINT ");
            assertThat(files(folder)).isEqualTo(before);
        }
    }

    @Test
    void inspectTellsOfASealedObjectEverythingWithTheKeyAndLittleWithout() throws Exception {
        // Given
        TestHost one = host("h1", secret);
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        List<String> objects = new ArrayList<>(List.of(
                KEYS.checkpoint(CP),
                KEYS.vm(CP, "a"),
                store.list(KEYS.indexes()).get(0).key(),
                store.list(KEYS.packs()).get(0).key()));

        for (String object : objects) {
            // When
            Said with = tool(secret, "inspect", "s3:" + object);
            Said without = tool(null, "inspect", "s3:" + object);

            // Then
            assertThat(with.status()).as(with.err()).isZero();
            assertThat(with.out()).containsAnyOf("checkpoint-manifest", "vm-manifest", "plainBytes");
            assertThat(without.status()).as(without.err()).isZero();
            assertThat(without.out())
                    .contains("\"sealed\" : true")
                    .doesNotContain("plainBytes")
                    .doesNotContain("net-a");
        }
        assertThat(tool(null, "inspect").status()).isEqualTo(2);
        assertThat(tool(null, "keys", "eat").status()).isEqualTo(2);
    }
}
