package io.holdfast.storage.it;

import io.holdfast.devstack.S3Server;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.WrapKey;
import io.holdfast.storage.maintenance.Keeper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** Tests on a real S3 server that the class shares; each test has a bucket, a folder and a store of its own. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class BucketTest {
    static final String CP = "cp-20260101t000000z-abcdef";
    static final String CP2 = "cp-20260101t000100z-abcdef";
    static final Keys KEYS = new Keys("some/prefix");

    @TempDir
    static Path base;

    /** The dev stack's server; null where the class brings another. */
    S3Server s3;

    private Server server;
    private int tests;
    String bucket;
    Path folder;
    S3ObjectStore store;
    private final List<S3ObjectStore> stores = new ArrayList<>();

    /** An S3 server with one account. */
    record Server(String endpoint, String accessKey, String secretKey, Runnable end) {}

    /** Starts the server of this class: the dev stack's. */
    Server start() throws Exception {
        s3 = S3Server.start(base.resolve("s3"), 0);
        return new Server(s3.endpoint(), s3.accessKey(), s3.secretKey(), s3::close);
    }

    @BeforeAll
    void startServer() throws Exception {
        server = start();
    }

    @AfterAll
    void endServer() {
        if (server != null) {
            server.end().run();
        }
    }

    @BeforeEach
    void freshBucket() throws Exception {
        tests++;
        bucket = getClass().getSimpleName().toLowerCase(java.util.Locale.ROOT) + "-" + tests;
        folder = Files.createDirectories(base.resolve("t" + tests));
        // with patience, past what a class puts in between
        try (S3ObjectStore direct = new S3ObjectStore(new S3ObjectStore.Access(
                server.endpoint(),
                "us-east-1",
                server.accessKey(),
                server.secretKey(),
                bucket,
                Duration.ofSeconds(60)))) {
            direct.check(true);
        }
        store = connect(Duration.ofSeconds(60));
    }

    @AfterEach
    void closeStores() {
        stores.forEach(S3ObjectStore::close);
        stores.clear();
    }

    /** Where tests reach the server. */
    String endpoint() {
        return server.endpoint();
    }

    String accessKey() {
        return server.accessKey();
    }

    String secretKey() {
        return server.secretKey();
    }

    /** After that much time without a byte a request is given up. */
    Duration silence() {
        return Duration.ofSeconds(30);
    }

    /** One more store on the test's bucket; it is closed with the test. */
    final S3ObjectStore connect(Duration retry) {
        return connect(endpoint(), secretKey(), retry);
    }

    final S3ObjectStore connect(String endpoint, String secret, Duration retry) {
        S3ObjectStore s = new S3ObjectStore(
                new S3ObjectStore.Access(endpoint, "us-east-1", server.accessKey(), secret, bucket, retry, silence()));
        stores.add(s);
        return s;
    }

    /** A host on the test's store, without encryption. */
    final TestHost host(String name) throws IOException {
        return host(name, store, null);
    }

    final TestHost host(String name, S3ObjectStore its, WrapKey key) throws IOException {
        return TestHost.of(folder, name, its, KEYS, key);
    }

    /** The file in which the dev stack's server keeps an object. */
    final Path object(String key) {
        return base.resolve("s3/data").resolve(bucket).resolve(key);
    }

    /** Every object of the bucket whose key begins so. */
    final List<String> keys(String prefix) throws Exception {
        return store.list(prefix).stream().map(o -> o.key()).sorted().toList();
    }

    /** All objects of the dev stack's server are as old as if that time had passed. */
    final void pass(Duration time) throws Exception {
        try (var all = Files.walk(base.resolve("s3/data").resolve(bucket))) {
            for (Path p : all.filter(Files::isRegularFile).toList()) {
                Files.setLastModifiedTime(
                        p,
                        FileTime.from(Files.getLastModifiedTime(p).toInstant().minus(time)));
            }
        }
    }

    /** Maintenance that rewrites packs of which little is needed, and joins none. */
    static Keeper keeper(ObjectStore its, Repository repository, Path state) {
        return keeper(its, repository, state, 0);
    }

    /** Maintenance that also joins packs that fill less of 1 MiB than that part in percent; 0: none. */
    static Keeper keeper(ObjectStore its, Repository repository, Path state, int smallPercent) {
        return new Keeper(
                its,
                KEYS,
                repository,
                new Leases(its, KEYS, repository),
                new ZstdCodec(1),
                2,
                new Keeper.Repack(1 << 20, 5, smallPercent, 1 << 30),
                state,
                Clock.systemUTC());
    }
}
