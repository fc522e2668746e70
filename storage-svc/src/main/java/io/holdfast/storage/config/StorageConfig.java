package io.holdfast.storage.config;

import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;

/** The storage service's configuration. */
@ConfigMapping(prefix = "holdfast.storage")
public interface StorageConfig {
    /** This host's id, the same as the host agent's. */
    String host();

    /** The image folder, the same as the host agent's. */
    @WithDefault("/var/lib/holdfast/images")
    Path imageDir();

    /** This service's own folder: journal of commands, notes of uploads, copies of indexes. */
    @WithDefault("/var/lib/holdfast/storage")
    Path stateDir();

    /** URL of the S3 server. */
    String endpoint();

    /** The bucket. */
    @WithDefault("holdfast")
    String bucket();

    /** Goes before every key, so that a bucket can hold several repositories. Default: nothing. */
    Optional<String> prefix();

    /** S3 region. */
    @WithDefault("us-east-1")
    String region();

    /** S3 access key. */
    String accessKey();

    /** S3 secret key. */
    String secretKey();

    /**
     * A file with the key of the encrypted repository: 32 random bytes as 64 hex digits or in base64. No key: the repository is
     * not encrypted.
     */
    Optional<Path> keyFile();

    /** The key itself, for an environment variable (HOLDFAST_STORAGE_KEY). Not together with {@code key-file}. */
    Optional<String> key();

    /** Whether the bucket is made when it is missing. */
    @WithDefault("true")
    boolean createBucket();

    /** zstd's level; 1 is quick, 19 small. */
    @WithDefault("1")
    int compressionLevel();

    /** Chunk size in bytes of a repository that this service makes, a power of two from 4096 to 4194304. */
    @WithDefault("65536")
    int chunkBytes();

    /** A pack is uploaded from that size in bytes on. */
    @WithDefault("16777216")
    int packBytes();

    /**
     * Grace period of a repository that this service makes: garbage collection deletes what it found unneeded not before. Uploads
     * must end within half of it.
     */
    @WithDefault("PT24H")
    Duration grace();

    /**
     * Part in percent of the bytes of needed packs that may be needed by nobody: beyond it a prune rewrites the packs of which the least is
     * needed. From 0, as little as can be, to 100: none is rewritten.
     */
    @WithDefault("5")
    int maxUnusedPercent();

    /**
     * A pack that fills less of {@code pack-bytes} than that part in percent is small: prune joins them when they fill a pack together or are ten. 0:
     * none is joined.
     */
    @WithDefault("25")
    int repackSmallPercent();

    /**
     * The most bytes of packs that one prune rewrites, but one pack at least; 0: none. No forget or rebuild goes on meanwhile. What is left is for the
     * next one.
     */
    @WithDefault("68719476736")
    long maxRepackBytes();

    /** Threads that hash and compress. */
    @WithDefault("2")
    int workers();

    /** Uploads or reads at a time. */
    @WithDefault("4")
    int transfers();

    /** How long transient errors of the S3 server are tried again. */
    @WithDefault("PT60S")
    Duration retryTime();

    /** Time between heartbeats. */
    @WithDefault("PT1S")
    Duration heartbeat();

    /** Time between looks at the bucket. */
    @WithDefault("PT5S")
    Duration check();

    /** Commands older than that are not begun: a new consumer group would otherwise replay the past. */
    @WithDefault("PT1H")
    Duration commandMaxAge();
}
