package io.holdfast.storage.domain;

import com.fasterxml.jackson.annotation.JsonInclude;
import io.holdfast.schemas.event.ErrorCode;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What a repository is; written once by the first service that comes to an empty bucket. Afterwards only the wraps of its data key
 * change.
 *
 * @param format version of the format: 1 without encryption, 2 with
 * @param repository random id
 * @param createdAt when it was made
 * @param chunkBytes size of chunks: all services of a repository cut alike, else nothing would be shared
 * @param digest how chunks are named: {@code sha256}, or {@code hmac-sha256} with encryption
 * @param encryption null: none
 * @param graceSeconds how long a prune marks what nobody needs before it is deleted; null: a day
 */
public record RepositoryConfig(
        int format,
        String repository,
        Instant createdAt,
        int chunkBytes,
        String digest,
        Encryption encryption,
        @JsonInclude(JsonInclude.Include.NON_NULL) Integer graceSeconds) {
    /** Without encryption. */
    public static final int PLAIN = 1;
    /** With encryption. */
    public static final int ENCRYPTED = 2;

    /** The only cipher there is. */
    public static final String CIPHER = "xaes-256-gcm";

    /** Grace period of a repository whose config names none. */
    public static final Duration DEFAULT_GRACE = Duration.ofDays(1);

    /** Chunk size of a new repository, unless the configuration says otherwise. */
    public static final int DEFAULT_CHUNK = 64 * 1024;

    private static final int MAX_WRAPS = 16;

    /**
     * How it is encrypted.
     *
     * @param cipher {@link #CIPHER}
     * @param mac HMAC-SHA-256 in hex over the lasting fields, by a key derived from the data key
     * @param wraps the data key, encrypted by each key that opens the repository
     */
    public record Encryption(String cipher, String mac, List<Wrap> wraps) {
        public Encryption {
            wraps = wraps == null ? List.of() : List.copyOf(wraps);
        }
    }

    /**
     * The data key, encrypted.
     *
     * @param keyId tells which key it takes, 16 hex digits
     * @param wrapped nonce, ciphertext and tag in base64
     * @param createdAt when it was added
     */
    public record Wrap(
            String keyId,
            String wrapped,
            @JsonInclude(JsonInclude.Include.NON_NULL) Instant createdAt) {}

    /** A config and what it opens. */
    public record Opened(RepositoryConfig config, Vault vault) {}

    /** The config of a new repository. With a key it is encrypted, and the vault has a new data key. */
    public static Opened create(String repository, Instant now, int chunkBytes, WrapKey key, Duration grace) {
        int seconds = Math.toIntExact(grace.toSeconds());
        if (key == null) {
            return new Opened(
                    new RepositoryConfig(PLAIN, repository, now, chunkBytes, "sha256", null, seconds), Vault.NONE);
        }
        Vault vault = Vault.create();
        RepositoryConfig c = new RepositoryConfig(ENCRYPTED, repository, now, chunkBytes, "hmac-sha256", null, seconds);
        String mac = vault.configMac(c.lasting());
        return new Opened(
                c.with(new Encryption(CIPHER, mac, List.of(new Wrap(key.id(), vault.wrap(key), now)))), vault);
    }

    /** The same with the usual grace period. */
    public static Opened create(String repository, Instant now, int chunkBytes, WrapKey key) {
        return create(repository, now, chunkBytes, key, DEFAULT_GRACE);
    }

    private RepositoryConfig with(Encryption e) {
        return new RepositoryConfig(format, repository, createdAt, chunkBytes, digest, e, graceSeconds);
    }

    /** What the mac is of. */
    private String lasting() {
        return format + "\n" + repository + "\n" + createdAt + "\n" + chunkBytes + "\n" + digest + "\n" + CIPHER + "\n"
                + (graceSeconds == null ? "" : graceSeconds);
    }

    /**
     * Opens the repository.
     *
     * @param object the config's key, for messages
     * @param key the key that is configured, or null
     * @throws StorageException WRONG_KEY, naming the setting, if they do not fit
     */
    public Vault open(String object, WrapKey key) throws StorageException {
        if (encryption == null) {
            if (key == null) {
                return Vault.NONE;
            }
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    "object " + object + ": the repository is not encrypted, but " + key.setting() + " gives a key",
                    "take the key out of the configuration, or name another bucket or prefix for an encrypted repository");
        }
        if (key == null) {
            throw Vault.noKey(object);
        }
        for (Wrap w : encryption.wraps()) {
            if (w.keyId().equals(key.id())) {
                Vault v = Vault.unwrap(w.wrapped(), key);
                if (v == null || !v.configMac(lasting()).equals(encryption.mac())) {
                    throw StorageException.corrupt(
                            object, "was changed: it does not fit the data key that key " + key.id() + " opens");
                }
                return v;
            }
        }
        throw new StorageException(
                ErrorCode.WRONG_KEY,
                "object " + object + ": " + key.setting() + " gives key " + key.id() + ", the repository opens with "
                        + encryption.wraps().stream().map(Wrap::keyId).collect(Collectors.joining(" or ")),
                "give the key that the repository was made with in " + key.setting()
                        + "; with an old key that still opens it: keys add");
    }

    /** The config with one more key. A key that is there already changes nothing. */
    public RepositoryConfig add(Vault vault, WrapKey key, Instant now) throws StorageException {
        List<Wrap> wraps = new ArrayList<>(encryption.wraps());
        if (wraps.stream().anyMatch(w -> w.keyId().equals(key.id()))) {
            return this;
        }
        if (wraps.size() >= MAX_WRAPS) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    "the repository has " + MAX_WRAPS + " keys, which is the most",
                    "remove keys that are not used any more: keys remove");
        }
        wraps.add(new Wrap(key.id(), vault.wrap(key), now));
        return with(new Encryption(encryption.cipher(), encryption.mac(), wraps));
    }

    /** The config without a key; the one that is in use cannot go. */
    public RepositoryConfig remove(String keyId, WrapKey inUse) throws StorageException {
        if (keyId.equals(inUse.id())) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    "key " + keyId + " is the one of " + inUse.setting() + " that this command works with",
                    "configure the key that stays, then remove the other");
        }
        List<Wrap> wraps = encryption.wraps().stream()
                .filter(w -> !w.keyId().equals(keyId))
                .toList();
        if (wraps.size() == encryption.wraps().size()) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY, "the repository has no key " + keyId, "see which there are: keys list");
        }
        return with(new Encryption(encryption.cipher(), encryption.mac(), wraps));
    }

    /** Whether the other one is of the same repository: all but the wraps is the same. */
    public boolean isOf(RepositoryConfig other) {
        return lasting().equals(other.lasting())
                && Objects.equals(
                        encryption == null ? null : encryption.mac(),
                        other.encryption == null ? null : other.encryption.mac());
    }

    /** Whether that key opens it, or did before its wrap was broken. */
    public boolean hasWrapOf(WrapKey key) {
        return key != null
                && encryption != null
                && encryption.wraps().stream().anyMatch(w -> w.keyId().equals(key.id()));
    }

    /** How long a prune marks what nobody needs before it is deleted. */
    public Duration grace() {
        return graceSeconds == null ? DEFAULT_GRACE : Duration.ofSeconds(graceSeconds);
    }

    /** The object's bytes. */
    public byte[] encode() {
        return JsonObject.encode(this);
    }

    /** Reads the object, refusing what this code cannot serve. */
    public static RepositoryConfig decode(String key, byte[] data) throws StorageException {
        RepositoryConfig c =
                JsonObject.decode(key, "repository config", data, RepositoryConfig.class, PLAIN, ENCRYPTED);
        c.check(key);
        return c;
    }

    private void check(String key) throws StorageException {
        if ((format == ENCRYPTED) != (encryption != null)) {
            throw StorageException.corrupt(key, "format " + format + " does not fit its encryption");
        }
        if (repository == null || createdAt == null) {
            throw StorageException.corrupt(key, "has no id or no time");
        }
        if (graceSeconds != null && graceSeconds < 0) {
            throw StorageException.corrupt(key, "grace of " + graceSeconds + " seconds is out of bounds");
        }
        String named = encryption == null ? "sha256" : "hmac-sha256";
        if (!named.equals(digest)) {
            throw StorageException.corrupt(key, "unknown digest " + Names.printable(digest));
        }
        if (chunkBytes < Limits.MIN_CHUNK || chunkBytes > Limits.MAX_CHUNK || Integer.bitCount(chunkBytes) != 1) {
            throw StorageException.corrupt(key, "chunk size " + chunkBytes + " is out of bounds");
        }
        if (encryption == null) {
            return;
        }
        if (!CIPHER.equals(encryption.cipher())) {
            throw StorageException.corrupt(key, "unknown cipher " + Names.printable(encryption.cipher()));
        }
        Set<String> seen = new HashSet<>();
        if (encryption.mac() == null
                || encryption.wraps().isEmpty()
                || encryption.wraps().size() > MAX_WRAPS
                || !encryption.wraps().stream()
                        .allMatch(w -> w.keyId() != null
                                && w.keyId().matches("[0-9a-f]{16}")
                                && w.wrapped() != null
                                && seen.add(w.keyId()))) {
            throw StorageException.corrupt(key, "its keys are broken");
        }
    }
}
