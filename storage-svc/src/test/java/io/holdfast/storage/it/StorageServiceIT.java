package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.cloudevents.CloudEvent;
import io.holdfast.devstack.FaultProxy;
import io.holdfast.devstack.FaultProxy.Fault;
import io.holdfast.devstack.FaultProxy.Seen;
import io.holdfast.devstack.KafkaBroker;
import io.holdfast.devstack.ProcessKit;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.devstack.S3Server;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Topics;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.schemas.event.VmState;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.WrapKey;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** The built service as a process, driven as the coordinator drives it: a real broker, a real S3 server. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class StorageServiceIT {
    private static final Duration LIMIT = Duration.ofMinutes(2);

    @TempDir
    static Path base;

    private KafkaBroker broker;
    private S3Server s3;
    private KafkaProducer<String, byte[]> producer;
    private KafkaConsumer<String, byte[]> consumer;
    private final List<Object> seen = new CopyOnWriteArrayList<>();
    private final List<ProcessKit.Running> services = new ArrayList<>();
    private String checkpoint;
    private String operation;

    @BeforeAll
    void start() throws Exception {
        broker = KafkaBroker.start(base.resolve("kafka"), 0);
        s3 = S3Server.start(base.resolve("s3"), 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.bootstrapServers()))) {
            admin.createTopics(List.of(
                            new NewTopic(Topics.COMMANDS, 1, (short) 1),
                            new NewTopic(Topics.REPORTS, 1, (short) 1),
                            new NewTopic(Topics.HOSTS, 1, (short) 1)))
                    .all()
                    .get();
        }
        producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", broker.bootstrapServers()),
                new StringSerializer(),
                new ByteArraySerializer());
        consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", broker.bootstrapServers(), "auto.offset.reset", "earliest"),
                new StringDeserializer(),
                new ByteArrayDeserializer());
        consumer.assign(List.of(new TopicPartition(Topics.REPORTS, 0), new TopicPartition(Topics.HOSTS, 0)));
        for (String host : List.of("h1", "h2", "h3")) {
            service(host, Map.of());
        }
        for (String host : List.of("h1", "h2", "h3")) {
            awaitAlive(host);
        }
    }

    @AfterAll
    void stop() {
        services.forEach(ProcessKit.Running::close);
        producer.close();
        consumer.close();
        s3.close();
        broker.close();
    }

    @BeforeEach
    void names() {
        String hex = UUID.randomUUID().toString().replace("-", "");
        checkpoint = "cp-20260101t000000z-" + hex.substring(0, 6);
        operation = "op-" + hex.substring(0, 16);
        seen.clear();
    }

    private Path images(String host) {
        return base.resolve(host).resolve("images");
    }

    private ProcessKit.Running service(String host, Map<String, String> more) {
        Path dir = base.resolve(host);
        List<String> command = new ArrayList<>(ProcessKit.java("-Xmx300m"));
        Map<String, String> config = new java.util.HashMap<>(Map.of(
                "kafka.bootstrap.servers", broker.bootstrapServers(),
                "quarkus.http.port", Integer.toString(ProcessKit.freePort()),
                "holdfast.storage.host", host,
                "holdfast.storage.image-dir", images(host).toString(),
                "holdfast.storage.state-dir", dir.resolve("state").toString(),
                "holdfast.storage.endpoint", s3.endpoint(),
                "holdfast.storage.bucket", "holdfast-it",
                "holdfast.storage.access-key", s3.accessKey(),
                "holdfast.storage.secret-key", s3.secretKey()));
        config.putAll(more);
        config.forEach((k, v) -> command.add("-D" + k + "=" + v));
        command.add("-jar");
        command.add(
                RepoRoot.built("storage-svc/target/quarkus-app/quarkus-run.jar").toString());
        ProcessKit.Running running = ProcessKit.start(command, Map.of(), dir.resolve("storage.log"));
        services.add(running);
        return running;
    }

    private void send(ProducerRecord<String, byte[]> record) {
        var unused = producer.send(record);
        producer.flush();
    }

    private void send(Command command) {
        send(record(command));
    }

    /** As a host sees it whose clock is so far ahead. */
    private void send(Command command, Duration ahead) {
        var r = record(command);
        send(new ProducerRecord<>(
                r.topic(), null, Instant.now().minus(ahead).toEpochMilli(), r.key(), r.value(), r.headers()));
    }

    private static ProducerRecord<String, byte[]> record(Command command) {
        CloudEvent event = EventCodec.encode(
                command.header().id(),
                URI.create("/holdfast/coordinator"),
                command.header().operation(),
                command,
                Instant.now(),
                Map.of());
        return EventCodec.record(Topics.COMMANDS, command.header().host(), event);
    }

    private Command.Header header(String host, String phase, int attempt) {
        return new Command.Header(operation, "net-a", host, phase, attempt, 1);
    }

    private <T> T awaitSeen(Class<T> type, Predicate<T> which) {
        return await("a " + type.getSimpleName())
                .atMost(LIMIT)
                .until(() -> poll(type, which), java.util.Objects::nonNull);
    }

    private <T> T poll(Class<T> type, Predicate<T> which) throws Exception {
        for (ConsumerRecord<String, byte[]> r : consumer.poll(Duration.ofMillis(50))) {
            seen.add(EventCodec.decode(EventCodec.read(r.headers(), r.value())));
        }
        return seen.stream()
                .filter(type::isInstance)
                .map(type::cast)
                .filter(which)
                .findFirst()
                .orElse(null);
    }

    private Report end(String id) {
        return awaitSeen(Report.class, r -> {
            Report.Header h = r.header();
            return !h.state().equals("progress")
                    && (h.operation() + "/" + h.host() + "/" + h.phase() + "/" + h.attempt()).equals(id);
        });
    }

    private void awaitAlive(String host) {
        awaitSeen(Heartbeat.Storage.class, h -> h.host().equals(host) && h.reachable());
    }

    private CheckpointManifest manifest(List<VmArchive> vms) {
        return new CheckpointManifest(
                1,
                checkpoint,
                "net-a",
                "a label",
                Instant.parse("2026-01-01T00:00:00Z"),
                new InstanceLayout("net-a", null, List.of(), Map.of("lan", 100, "wan", 101, "x", 102)),
                vms,
                List.of(),
                new CutFigures(List.of()));
    }

    @Test
    void checkpointArchivedOnTwoHostsIsCommittedAndPulledToAThird() throws Exception {
        // Given
        TestImage.write(images("h1").resolve(checkpoint).resolve("a"), 32 << 20, 1);
        TestImage.write(images("h2").resolve(checkpoint).resolve("b"), 32 << 20, 2);

        // When
        send(new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a")));
        send(new Command.Archive(header("h2", "archive", 1), checkpoint, List.of("b")));
        var one = (Report.Archived) end(operation + "/h1/archive/1");
        var two = (Report.Archived) end(operation + "/h2/archive/1");
        List<VmArchive> all = new ArrayList<>(one.vms());
        all.addAll(two.vms());
        send(new Command.Commit(header("h1", "commit", 1), manifest(all)));
        var committed = (Report.Committed) end(operation + "/h1/commit/1");
        send(new Command.Pull(header("h3", "pull", 1), checkpoint, committed.manifestKey(), List.of("a", "b")));
        var pulled = end(operation + "/h3/pull/1");

        // Then
        assertThat(pulled).isInstanceOf(Report.Pulled.class);
        await("the marks, of the host that did not commit too: until then their folders change")
                .atMost(LIMIT)
                .until(() -> Files.exists(
                                images("h1").resolve(checkpoint).resolve("a").resolve("archived"))
                        && Files.exists(
                                images("h2").resolve(checkpoint).resolve("b").resolve("archived")));
        TestImage.assertSame(
                images("h1").resolve(checkpoint).resolve("a"),
                images("h3").resolve(checkpoint).resolve("a"));
        TestImage.assertSame(
                images("h2").resolve(checkpoint).resolve("b"),
                images("h3").resolve(checkpoint).resolve("b"));
        assertThat(one.figures().dataBytes()).isGreaterThan(15 << 20);
        assertThat(committed.manifest()).isEqualTo(manifest(all));
        assertThat(images("h3").resolve(checkpoint).resolve("a").resolve("archived"))
                .exists();
    }

    @Test
    void repeatedCommandIsAnsweredAgainWithoutWorkAndPoisonIsPassedOver() throws Exception {
        // Given
        Path image = images("h1").resolve(checkpoint).resolve("a");
        TestImage.write(image, 4 << 20, 3);
        send(new ProducerRecord<>(Topics.COMMANDS, "h1", "no event".getBytes(java.nio.charset.StandardCharsets.UTF_8)));
        send(new ProducerRecord<>(Topics.COMMANDS, null, null));
        send(new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a")));
        var first = end(operation + "/h1/archive/1");
        Files.delete(image.resolve("ram.img"));
        seen.clear();

        // When
        send(new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a")));

        // Then
        assertThat(end(operation + "/h1/archive/1")).isEqualTo(first);
    }

    @Test
    void commandOfAnOldEpochIsRefused() throws Exception {
        // Given
        send(new Command.Pull(
                new Command.Header(operation, "net-e", "h1", "pull", 1, 9), checkpoint, null, List.of("a")));
        assertThat(((Report.Failed) end(operation + "/h1/pull/1")).code()).isEqualTo(ErrorCode.UNKNOWN_CHECKPOINT);

        // When
        send(new Command.Pull(
                new Command.Header(operation, "net-e", "h1", "pull", 2, 8), checkpoint, null, List.of("a")));

        // Then
        assertThat(((Report.Failed) end(operation + "/h1/pull/2")).code()).isEqualTo(ErrorCode.STALE_EPOCH);
    }

    @Test
    void commandThatIsTooOldByTheHostsClockIsRefusedNamingTheClock_butARepeatOfADoneOneIsAnswered() throws Exception {
        // Given
        TestImage.write(images("h1").resolve(checkpoint).resolve("a"), 1 << 20, 5);
        var done = new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a"));
        send(done);
        Report first = end(operation + "/h1/archive/1");
        seen.clear();

        // When
        send(new Command.Pull(header("h1", "pull", 1), checkpoint, null, List.of("a")), Duration.ofHours(2));
        send(done, Duration.ofHours(2));

        // Then
        var refused = (Report.Failed) end(operation + "/h1/pull/1");
        assertThat(refused.code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(refused.message()).contains("clock of host h1");
        assertThat(end(operation + "/h1/archive/1")).isEqualTo(first).isInstanceOf(Report.Archived.class);
    }

    @Test
    void serviceKilledMidArchiveLeavesNoManifestAndFinishesAfterItsStart() throws Exception {
        // Given
        ProcessKit.Running first = service("h4", Map.of("holdfast.storage.pack-bytes", "1048576"));
        TestImage.write(images("h4").resolve(checkpoint).resolve("a"), 256 << 20, 4);
        awaitAlive("h4");
        Path notes = base.resolve("h4/state/uploads").resolve(checkpoint);
        send(new Command.Archive(header("h4", "archive", 1), checkpoint, List.of("a")));
        await("some packs").atMost(LIMIT).pollInterval(Duration.ofMillis(5)).until(() -> count(notes) > 3);

        // When
        ProcessKit.kill(first.ids());
        Path bucket = base.resolve("s3/data/holdfast-it");
        Path vmManifest = bucket.resolve("vms").resolve(checkpoint).resolve("a.hfvm");
        boolean manifestAfterKill = Files.exists(vmManifest);
        long packsAfterKill = count(bucket.resolve("packs"));
        service("h4", Map.of("holdfast.storage.pack-bytes", "1048576"));

        // Then
        var report = (Report.Archived) end(operation + "/h4/archive/1");
        assertThat(manifestAfterKill).isFalse();
        assertThat(packsAfterKill).isGreaterThan(3);
        assertThat(vmManifest).exists();
        assertThat(report.figures().newBytes())
                .as("plain bytes of the second try")
                .isLessThan(report.figures().dataBytes());
    }

    @Test
    void serverKilledMidUploadForLongerThanItIsTried_theNextAttemptUploadsNothingAgain() throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given
            service(
                    "h7",
                    Map.of(
                            "holdfast.storage.endpoint", proxy.endpoint(),
                            "holdfast.storage.retry-time", "PT2S",
                            "holdfast.storage.pack-bytes", "1048576"));
            awaitAlive("h7");
            Path image = images("h7").resolve(checkpoint).resolve("a");
            TestImage.write(image, 256 << 20, 8);
            Path notes = base.resolve("h7/state/uploads").resolve(checkpoint);
            send(new Command.Archive(header("h7", "archive", 1), checkpoint, List.of("a")));
            await("some packs").atMost(LIMIT).pollInterval(Duration.ofMillis(5)).until(() -> count(notes) > 3);
            s3.kill();
            var failed = (Report.Failed) end(operation + "/h7/archive/1");
            List<String> there;
            try (var list = Files.list(notes)) {
                there = list.map(p -> p.getFileName().toString()).toList();
            }
            s3.resume();
            proxy.forget();

            // When
            send(new Command.Archive(header("h7", "archive", 2), checkpoint, List.of("a")));
            var archived = (Report.Archived) end(operation + "/h7/archive/2");

            // Then
            assertThat(failed.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
            assertThat(there).hasSizeGreaterThan(3);
            assertThat(proxy.seen())
                    .filteredOn(r -> r.method().equals("PUT"))
                    .isNotEmpty()
                    .noneMatch(r -> there.stream().anyMatch(r.path()::contains));
            assertThat(archived.figures().newBytes())
                    .isLessThan(archived.figures().dataBytes() - (there.size() - 1L) * (1 << 20) / 2);
            assertThat(notes).doesNotExist();
            send(new Command.Commit(header("h7", "commit", 1), manifest(archived.vms())));
            end(operation + "/h7/commit/1");
            send(new Command.Pull(header("h1", "pull", 1), checkpoint, null, List.of("a")));
            assertThat(end(operation + "/h1/pull/1")).isInstanceOf(Report.Pulled.class);
            TestImage.assertSame(image, images("h1").resolve(checkpoint).resolve("a"));
        }
    }

    private Report.Failed aborted(String id) {
        long start = System.nanoTime();
        var failed = (Report.Failed) end(id);
        assertThat(failed.code()).isEqualTo(ErrorCode.ABORTED);
        assertThat(Duration.ofNanos(System.nanoTime() - start))
                .as("long before the server is given up")
                .isLessThan(Duration.ofSeconds(40));
        return failed;
    }

    @Test
    void abortOfACheckpointEndsItsArchiveAtWorkAndOneThatWaits_andTheNextOneIsDone() throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given
            service(
                    "h5",
                    Map.of("holdfast.storage.endpoint", proxy.endpoint(), "holdfast.storage.retry-time", "PT300S"));
            awaitAlive("h5");
            TestImage.write(images("h5").resolve(checkpoint).resolve("a"), 8 << 20, 5);
            AtomicInteger puts = proxy.inject(
                    Fault.SLOW_DOWN,
                    0,
                    r -> r.method().equals("PUT") && r.path().contains("/packs/"));
            send(new Command.Archive(header("h5", "archive", 1), checkpoint, List.of("a")));
            send(new Command.Archive(header("h5", "archive", 2), checkpoint, List.of("a")));
            await("an upload").atMost(LIMIT).until(() -> puts.get() > 0);

            // When
            send(new Command.Abort(
                    new Command.Header("op-of-another", "net-a", "h5", "abort", 1, 1), checkpoint, "not this one"));
            send(new Command.Abort(header("h5", "abort", 1), checkpoint, "the test says so"));

            // Then
            aborted(operation + "/h5/archive/1");
            aborted(operation + "/h5/archive/2");
            proxy.heal();
            send(new Command.Archive(header("h5", "archive", 3), checkpoint, List.of("a")));
            assertThat(end(operation + "/h5/archive/3")).isInstanceOf(Report.Archived.class);
        }
    }

    private static Predicate<Seen> lists(String what) {
        return r -> r.method().equals("GET")
                && r.path().contains("prefix=")
                && r.path().contains(what);
    }

    /** All but the first one. */
    private static Predicate<Seen> later(Predicate<Seen> which) {
        AtomicInteger n = new AtomicInteger();
        return r -> which.test(r) && n.incrementAndGet() > 1;
    }

    @Test
    void abortThatInterruptsAListingInFlight_endsItsArchiveAtOnceAndLeavesNothingLockedOrToBeUploadedAgain()
            throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given: a repository that has half of the images; listings go through minio-java, which works in other
            // threads
            service(
                    "h9",
                    Map.of(
                            "holdfast.storage.endpoint",
                            proxy.endpoint(),
                            "holdfast.storage.retry-time",
                            "PT300S",
                            "holdfast.storage.pack-bytes",
                            "1048576"));
            awaitAlive("h9");
            Path folder = images("h9").resolve(checkpoint);
            TestImage.write(folder.resolve("a"), 16 << 20, 10);
            send(new Command.Archive(header("h9", "archive", 1), checkpoint, List.of("a")));
            assertThat(end(operation + "/h9/archive/1")).isInstanceOf(Report.Archived.class);
            TestImage.write(folder.resolve("b"), 8 << 20, 11);
            List<String> vms = List.of("a", "b");
            int attempt = 1;
            for (Predicate<Seen> which : List.of(lists("gc%2Fmark-"), lists("=packs%2F"), later(lists("=packs%2F")))) {
                attempt++;
                AtomicInteger silent = proxy.inject(Fault.SILENCE, 0, which);
                send(new Command.Archive(header("h9", "archive", attempt), checkpoint, vms));
                await("a listing in flight").atMost(LIMIT).until(() -> silent.get() > 0);

                // When
                long start = System.nanoTime();
                send(new Command.Abort(header("h9", "abort", attempt), checkpoint, "the test says so"));

                // Then: long before the server's silence is given up
                aborted(operation + "/h9/archive/" + attempt);
                assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(10));
                assertThat(base.resolve("s3/data/holdfast-it/vms")
                                .resolve(checkpoint)
                                .resolve("b.hfvm"))
                        .doesNotExist();
                proxy.heal();
            }
            // no lease is left: while one is held, copies of indexes that are gone stay
            Path copy = base.resolve("h9/state/index-cache").resolve("ab".repeat(32));
            Files.createFile(copy);
            proxy.forget();
            send(new Command.Archive(header("h9", "archive", 5), checkpoint, vms));
            var archived = (Report.Archived) end(operation + "/h9/archive/5");
            assertThat(copy).doesNotExist();
            assertThat(archived.figures().newBytes()).isZero();
            assertThat(proxy.seen())
                    .filteredOn(r -> r.method().equals("PUT"))
                    .isNotEmpty()
                    .noneMatch(r -> r.path().contains("/packs/"));
            send(new Command.Prune(new Command.Header(operation, null, "h9", "prune", 1, 1), true));
            assertThat(end(operation + "/h9/prune/1")).isInstanceOf(Report.Pruned.class);
            send(new Command.Commit(header("h9", "commit", 1), manifest(archived.vms())));
            assertThat(end(operation + "/h9/commit/1")).isInstanceOf(Report.Committed.class);
            send(new Command.Pull(header("h1", "pull", 1), checkpoint, null, vms));
            assertThat(end(operation + "/h1/pull/1")).isInstanceOf(Report.Pulled.class);
            for (String vm : vms) {
                TestImage.assertSame(
                        folder.resolve(vm), images("h1").resolve(checkpoint).resolve(vm));
            }
        }
    }

    /** Reports of progress that came before the end of a command, in their order. */
    private List<Report.Progress> progress(Report end) {
        return seen.subList(0, seen.indexOf(end)).stream()
                .filter(Report.Progress.class::isInstance)
                .map(Report.Progress.class::cast)
                .filter(p -> p.header().operation().equals(operation)
                        && p.header().phase().equals(end.header().phase()))
                .toList();
    }

    private static void rises(List<Report.Progress> told, long total) {
        assertThat(told).as("reports before the last").hasSizeGreaterThanOrEqualTo(2);
        long done = -1;
        for (int i = 0; i < told.size(); i++) {
            Report.Progress p = told.get(i);
            assertThat(p.header().sequence()).isEqualTo(i + 1);
            assertThat(p.unit()).isEqualTo("bytes");
            assertThat(p.total()).isEqualTo(total);
            assertThat(p.done()).isGreaterThan(done).isLessThanOrEqualTo(total);
            done = p.done();
            if (i > 0) {
                assertThat(p.perSecond()).as("rate of %s", p).isBetween(1L, total);
                assertThat(p.secondsLeft())
                        .as("time left of %s", p)
                        .isEqualTo((total - done + p.perSecond() - 1) / p.perSecond());
            }
        }
        assertThat(done).as("what was told last").isEqualTo(total);
        assertThat(told.get(told.size() - 1).secondsLeft()).isZero();
    }

    @Test
    void progressOfAnArchiveAndOfAPullFarFromTheBucketIsTold_risesAndEndsAtTheTotal() throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given
            service(
                    "h10",
                    Map.of("holdfast.storage.endpoint", proxy.endpoint(), "holdfast.storage.pack-bytes", "1048576"));
            awaitAlive("h10");
            Path image = images("h10").resolve(checkpoint).resolve("a");
            TestImage.write(image, 96 << 20, 12);
            proxy.latency(Duration.ofMillis(500));

            // When
            send(new Command.Archive(header("h10", "archive", 1), checkpoint, List.of("a")));
            var archived = (Report.Archived) end(operation + "/h10/archive/1");
            List<Report.Progress> up = progress(archived);
            send(new Command.Commit(header("h10", "commit", 1), manifest(archived.vms())));
            end(operation + "/h10/commit/1");
            Files.move(image, base.resolve("moved-" + checkpoint));
            send(new Command.Pull(header("h10", "pull", 1), checkpoint, null, List.of("a")));
            Report pulled = end(operation + "/h10/pull/1");
            List<Report.Progress> down = progress(pulled);

            // Then
            assertThat(pulled).isInstanceOf(Report.Pulled.class);
            rises(up, archived.figures().dataBytes());
            rises(down, archived.figures().dataBytes());
        }
    }

    @Test
    void destroyThatUndoesARestoreEndsItsPull_oneBeforeThePullDoesNot() throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given
            TestImage.write(images("h1").resolve(checkpoint).resolve("a"), 8 << 20, 6);
            send(new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a")));
            var archived = (Report.Archived) end(operation + "/h1/archive/1");
            send(new Command.Commit(header("h1", "commit", 1), manifest(archived.vms())));
            end(operation + "/h1/commit/1");
            service(
                    "h8",
                    Map.of("holdfast.storage.endpoint", proxy.endpoint(), "holdfast.storage.retry-time", "PT300S"));
            awaitAlive("h8");
            AtomicInteger gets = proxy.inject(
                    Fault.SLOW_DOWN,
                    0,
                    r -> r.method().equals("GET") && r.path().contains("/packs/"));
            send(new Command.Pull(header("h8", "pull", 1), checkpoint, null, List.of("a")));
            send(new Command.Destroy(header("h8", "destroy", 1)));
            await("a read").atMost(LIMIT).until(() -> gets.get() > 0);

            // When
            send(new Command.Destroy(header("h8", "destroy", 2)));

            // Then
            aborted(operation + "/h8/pull/1");
            assertThat(images("h8").resolve(checkpoint).resolve("a")).doesNotExist();
            proxy.heal();
            send(new Command.Pull(header("h8", "pull", 2), checkpoint, null, List.of("a")));
            assertThat(end(operation + "/h8/pull/2")).isInstanceOf(Report.Pulled.class);
            assertThat(images("h8").resolve(checkpoint).resolve("claim-" + operation))
                    .as("what keeps the agent from removing the images")
                    .exists();
        }
    }

    private static long count(Path folder) throws Exception {
        if (!Files.isDirectory(folder)) {
            return 0;
        }
        try (var dir = Files.list(folder)) {
            return dir.count();
        }
    }

    @Test
    void workOnTheRepositoryIsDoneByCommand_andARepeatIsAnsweredWithTheSame() throws Exception {
        TestImage.write(images("h1").resolve(checkpoint).resolve("a"), 2L << 20, 7);
        send(new Command.Archive(header("h1", "archive", 1), checkpoint, List.of("a")));
        Report.Archived archived =
                awaitSeen(Report.Archived.class, r -> r.header().operation().equals(operation));
        send(new Command.Commit(header("h1", "commit", 1), TestHost.manifest(checkpoint, archived.vms())));
        awaitSeen(Report.Committed.class, r -> r.header().operation().equals(operation));
        var h = new Command.Header(operation, null, "h1", "verify", 1, 1);

        send(new Command.Verify(h, checkpoint, 100));
        Report.Verified first =
                awaitSeen(Report.Verified.class, r -> r.header().operation().equals(operation));
        assertThat(first.result().sound()).isTrue();
        assertThat(first.header().instance()).isNull();
        seen.clear();
        send(new Command.Verify(h, checkpoint, 100));
        assertThat(awaitSeen(Report.Verified.class, r -> r.header().operation().equals(operation)))
                .isEqualTo(first);

        send(new Command.Rebuild(new Command.Header(operation, null, "h1", "rebuild", 1, 1), false));
        Report.Found found =
                awaitSeen(Report.Found.class, r -> r.manifest().checkpoint().equals(checkpoint));
        assertThat(found.manifestKey()).endsWith(checkpoint + ".json");
        awaitSeen(Report.Rebuilt.class, r -> r.result().checkpoints().contains(checkpoint));
        send(new Command.Forget(
                new Command.Header(operation, null, "h1", "forget", 1, 1),
                List.of(checkpoint),
                null,
                null,
                List.of(),
                false));
        awaitSeen(Report.Forgotten.class, r -> !r.result().forgotten().isEmpty());
        send(new Command.Verify(new Command.Header(operation, null, "h1", "verify", 2, 1), checkpoint, 100));
        assertThat(awaitSeen(Report.Failed.class, r -> r.header().attempt() == 2)
                        .code()
                        .name())
                .isEqualTo("UNKNOWN_CHECKPOINT");
    }

    @Test
    void bucketThatVanishedIsNotMadeAgainAndNoCheckpointGoesIntoOneWithoutOrWithAnotherConfig() throws Exception {
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint())) {
            // Given: a service whose bucket has its repository
            service(
                    "h6",
                    Map.of(
                            "holdfast.storage.endpoint",
                            proxy.endpoint(),
                            "holdfast.storage.bucket",
                            "vanishing",
                            "holdfast.storage.key",
                            WrapKey.random(),
                            "holdfast.storage.check",
                            "PT0.1S"));
            awaitAlive("h6");
            TestImage.write(images("h6").resolve(checkpoint).resolve("a"), 2 << 20, 9);
            var first = (Report.Archived) archived("h6", 1);
            send(new Command.Commit(header("h6", "commit", 1), manifest(first.vms())));
            assertThat(end(operation + "/h6/commit/1")).isInstanceOf(Report.Committed.class);
            Path bucket = base.resolve("s3/data/vanishing");
            Path away = base.resolve("away");

            // When
            Files.move(bucket, away);
            awaitSeen(Heartbeat.Storage.class, h -> h.host().equals("h6") && !h.reachable());
            proxy.forget();
            await("some more looks at the bucket")
                    .atMost(LIMIT)
                    .until(() -> proxy.seen().stream()
                                    .filter(r -> r.method().equals("HEAD")
                                            && r.path().matches("/vanishing/?"))
                                    .count()
                            > 3);
            boolean remade = Files.exists(bucket);
            Report without = archived("h6", 2);
            Files.createDirectory(bucket);
            Report empty = archived("h6", 3);
            send(new Command.Commit(header("h6", "commit", 2), manifest(first.vms())));
            Report late = end(operation + "/h6/commit/2");
            Files.write(
                    bucket.resolve("config"),
                    RepositoryConfig.create("another", Instant.now(), 65536, null)
                            .config()
                            .encode());
            Report other = archived("h6", 4);
            List<Path> manifests = List.of(bucket.resolve("vms"), bucket.resolve("checkpoints"));
            List<Path> made = manifests.stream().filter(Files::exists).toList();
            Files.move(bucket, base.resolve("remade"));
            Files.move(away, bucket);
            Report back = archived("h6", 5);

            // Then
            assertThat(remade).as("the bucket was made again").isFalse();
            assertThat(((Report.Failed) without).code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
            assertThat(List.of(empty, late, other))
                    .allSatisfy(r -> assertThat(r).isInstanceOfSatisfying(Report.Failed.class, f -> {
                        assertThat(f.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
                        assertThat(f.message()).contains("object config");
                    }));
            assertThat(made).as("manifests in a bucket of no repository").isEmpty();
            assertThat(back).isInstanceOf(Report.Archived.class);
        }
    }

    @Test
    void aCheckpointThatIsCommittedAfterItHasFailedLeavesNoTrace() throws Exception {
        // Given: a commit that was done by a service which was given up meanwhile
        TestImage.write(images("h1").resolve(checkpoint).resolve("a"), 1 << 20, 9);
        var archived = (Report.Archived) archived("h1", 1);
        send(new Command.Commit(header("h1", "commit", 1), manifest(archived.vms())));
        assertThat(end(operation + "/h1/commit/1")).isInstanceOf(Report.Committed.class);
        Path bucket = base.resolve("s3/data/holdfast-it");
        Path manifest = bucket.resolve("checkpoints/" + checkpoint + ".json");
        assertThat(manifest).exists();

        // When
        send(new Command.Abort(header("h1", "abort", 1), checkpoint, "the service was away"));

        // Then
        await().atMost(LIMIT).untilAsserted(() -> {
            assertThat(manifest).doesNotExist();
            assertThat(bucket.resolve("vms/" + checkpoint + "/a.hfvm")).doesNotExist();
        });
        assertThat(bucket.resolve("gone/" + checkpoint)).exists();
    }

    @Test
    void aReportThatIsTooLargeForTheBrokerFailsItsCommand_andHoldsUpNoOther() throws Exception {
        service("h7", Map.of("mp.messaging.outgoing.reports.max.request.size", "4000"));
        awaitAlive("h7");
        TestImage.write(images("h7").resolve(checkpoint).resolve("a"), 1 << 20, 9);
        Report first = archived("h7", 1);
        assertThat(first).isInstanceOf(Report.Archived.class); // else it says why
        var archived = (Report.Archived) first;
        var machine = new VmState("a", "running", 1, "kvm", false, "x".repeat(5000), null);
        CheckpointManifest m = manifest(archived.vms());
        m = new CheckpointManifest(
                1, checkpoint, m.instance(), m.label(), m.takenAt(), m.layout(), m.vms(), List.of(machine), m.cut());

        send(new Command.Commit(header("h7", "commit", 1), m));
        Report commit = end(operation + "/h7/commit/1");
        Report next = archived("h7", 2);

        assertThat(commit).isInstanceOfSatisfying(Report.Failed.class, f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.INTERNAL);
            assertThat(f.message()).contains("commit/1/done", "bytes");
            assertThat(f.remedy()).contains("max.request.size");
        });
        assertThat(next).isInstanceOf(Report.Archived.class);
    }

    private Report archived(String host, int attempt) {
        send(new Command.Archive(header(host, "archive", attempt), checkpoint, List.of("a")));
        return end(operation + "/" + host + "/archive/" + attempt);
    }
}
