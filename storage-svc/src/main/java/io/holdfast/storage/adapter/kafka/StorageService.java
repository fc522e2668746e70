package io.holdfast.storage.adapter.kafka;

import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.storage.adapter.file.KeyFile;
import io.holdfast.storage.adapter.file.LinuxSparseMap;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.ArchivedMarks;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.CommandJournal;
import io.holdfast.storage.app.CommandRunner;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.config.StorageConfig;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.maintenance.Keeper;
import io.quarkus.runtime.Startup;
import jakarta.annotation.PostConstruct;
import jakarta.annotation.PreDestroy;
import jakarta.inject.Singleton;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Clock;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.jboss.logging.Logger;

/** Puts the service together from its configuration; heartbeats and background looks at the bucket. */
@Startup
@Singleton
public class StorageService {
    private static final Logger LOG = Logger.getLogger(StorageService.class);
    private static final int REFRESH_EVERY = 12;
    private final StorageConfig config;
    private final KafkaOutbox outbox;
    private final String version;
    private final ScheduledExecutorService beats = scheduler("heartbeat");
    private final ScheduledExecutorService background = scheduler("background");
    private S3ObjectStore store;
    private Keys keys;
    private Indexes indexes;
    private Repository repository;
    private ArchivedMarks marks;
    private CommandRunner runner;
    private volatile boolean reachable;
    /** The bucket was there once. */
    private volatile boolean found;

    private volatile String problem = "not looked at yet";
    private int checks;

    StorageService(
            StorageConfig config,
            KafkaOutbox outbox,
            @ConfigProperty(name = "quarkus.application.version", defaultValue = "dev") String version) {
        this.config = config;
        this.outbox = outbox;
        this.version = version;
    }

    private static ScheduledExecutorService scheduler(String name) {
        return Executors.newSingleThreadScheduledExecutor(r -> {
            Thread t = new Thread(r, name);
            t.setDaemon(true);
            return t;
        });
    }

    @PostConstruct
    void start() {
        try {
            Names.require("host", config.host());
            Settings settings = new Settings(
                    config.host(),
                    config.imageDir().toAbsolutePath().normalize(),
                    config.stateDir().toAbsolutePath().normalize(),
                    config.chunkBytes(),
                    config.packBytes(),
                    config.workers(),
                    config.transfers());
            Files.createDirectories(settings.images());
            Files.createDirectories(settings.state());
            store = new S3ObjectStore(new S3ObjectStore.Access(
                    config.endpoint(),
                    config.region(),
                    config.accessKey(),
                    config.secretKey(),
                    config.bucket(),
                    config.retryTime()));
            keys = new Keys(config.prefix().orElse(""));
            repository = new Repository(
                            store,
                            keys,
                            settings.chunkBytes(),
                            KeyFile.read(
                                    config.keyFile().orElse(null), config.key().orElse(null)))
                    .graceOfNew(config.grace())
                    .roomOfLarge(new MappedRoom(settings.state()));
            indexes = new Indexes(store, keys, repository, settings.state());
            ZstdCodec codec = new ZstdCodec(config.compressionLevel());
            marks = new ArchivedMarks(repository, keys, settings);
            runner = new CommandRunner(
                    settings,
                    new CommandJournal(settings.state()),
                    repository,
                    new Archiver(store, keys, repository, indexes, codec, new LinuxSparseMap(), settings),
                    new Puller(store, keys, repository, indexes, codec, settings),
                    new Keeper(
                            store,
                            keys,
                            repository,
                            new Leases(store, keys, repository),
                            codec,
                            settings.transfers(),
                            new Keeper.Repack(
                                    settings.packBytes(),
                                    config.maxUnusedPercent(),
                                    config.repackSmallPercent(),
                                    config.maxRepackBytes()),
                            settings.state(),
                            Clock.systemUTC()),
                    marks,
                    this::ensure,
                    outbox);
            runner.resume();
        } catch (IOException | StorageException e) {
            throw new IllegalStateException("the storage service cannot start: " + e.getMessage(), e);
        }
        var unused =
                background.scheduleWithFixedDelay(this::check, 0, config.check().toMillis(), TimeUnit.MILLISECONDS);
        var unused2 = background.scheduleWithFixedDelay(this::mark, 1000, 1000, TimeUnit.MILLISECONDS);
        var unused3 =
                beats.scheduleAtFixedRate(this::beat, 0, config.heartbeat().toMillis(), TimeUnit.MILLISECONDS);
        LOG.infof(
                "event=started host=%s bucket=%s endpoint=%s images=%s",
                config.host(), config.bucket(), config.endpoint(), config.imageDir());
    }

    /** Before a command: the bucket is known to be there, or is made. */
    private void ensure() {
        if (!reachable) {
            check();
        }
        // where it still is not, the command's own calls try again and say what is wrong
    }

    private synchronized void check() {
        try {
            // a bucket that was there and vanished held a repository, or will again: none is made in its place
            store.check(config.createBucket() && !found);
            found = true;
            if (!reachable) {
                LOG.infof("event=bucket-reachable bucket=%s", config.bucket());
                reachable = true;
                beats.execute(this::beat);
            }
            problem = null;
            if (checks++ % REFRESH_EVERY == 0) {
                indexes.refresh();
            }
        } catch (StorageException e) {
            if (reachable || problem == null || !problem.equals(e.getMessage())) {
                LOG.warnf("event=bucket-unreachable reason=\"%s\" remedy=\"%s\"", e.getMessage(), e.remedy());
            }
            problem = e.getMessage();
            if (reachable) {
                reachable = false;
                beats.execute(this::beat);
            }
        } catch (RuntimeException e) {
            LOG.errorf(e, "event=check-broke");
        }
    }

    private void mark() {
        try {
            if (reachable) {
                marks.tick();
            }
        } catch (IOException | RuntimeException e) {
            LOG.warnf(e, "event=marks-failed");
        }
    }

    private void beat() {
        try {
            outbox.heartbeat(new Heartbeat.Storage(config.host(), version, config.bucket(), reachable));
        } catch (RuntimeException e) {
            LOG.warnf(e, "event=heartbeat-broke");
        }
    }

    /** Does the commands. */
    public CommandRunner runner() {
        return runner;
    }

    /** Whether the bucket answered last. */
    public boolean reachable() {
        return reachable;
    }

    /** Why the bucket is not reachable, or null. */
    public String problem() {
        return problem;
    }

    /** The bucket. */
    public ObjectStore store() {
        return store;
    }

    @PreDestroy
    void stop() {
        beats.shutdownNow();
        background.shutdownNow();
        if (runner != null) {
            runner.close();
        }
        if (store != null) {
            store.close();
        }
    }
}
