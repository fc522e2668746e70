package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.ShortBufferException;
import javax.crypto.spec.SecretKeySpec;

/**
 * A repository's data key at work: names chunks, seals and opens chunks and metadata objects. {@link #NONE} is a
 * repository without encryption: names are plain SHA-256 and nothing is sealed. Thread-safe.
 *
 * <p>Keys, each derived from the data key for one purpose: naming chunks, sealing chunks, sealing pack tables, sealing
 * metadata objects, nonces of metadata objects, authenticating the config.
 *
 * <p>Nonces have 192 bits. Chunks, tables and wraps: random. Metadata objects: HMAC-SHA-256 of the object's name and
 * content, so that the same object gives the same bytes and a nonce comes twice only with the same content.
 *
 * <pre>
 * sealed metadata object   magic "HFSO" u32 | version u16 = 1 | flags u16 = 0 | nonce 24 | ciphertext | tag 16
 *                          additional data: the key below the repository's prefix
 * sealed chunk             nonce 24 | ciphertext | tag 16; additional data: id 32 | plain length u32 | encoding u8
 * sealed pack table        nonce 24 | ciphertext | tag 16; additional data: "table"
 * </pre>
 */
public final class Vault {
    /** No encryption. */
    public static final Vault NONE = new Vault();

    /** Bytes that sealing adds to a chunk or a table. */
    public static final int OVERHEAD = Xaes.NONCE + Xaes.TAG;
    /** Bytes that sealing adds to a metadata object. */
    public static final int OBJECT_OVERHEAD = 8 + OVERHEAD;

    static final int MAGIC = 0x4846534f;
    static final int VERSION = 1;
    private static final int KEY = 32;
    private static final byte[] TABLE = "table".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] WRAP = "holdfast data key".getBytes(StandardCharsets.US_ASCII);
    private static final ThreadLocal<SecureRandom> RANDOM = ThreadLocal.withInitial(Vault::random);

    private final byte[] data;
    private final ThreadLocal<Mac> ids;
    private final ThreadLocal<byte[]> out = ThreadLocal.withInitial(() -> new byte[ChunkId.BYTES]);
    private final TwoDigests two;
    private final Xaes chunks;
    private final Xaes tables;
    private final Xaes objects;

    private Vault() {
        data = null;
        ids = null;
        two = TwoDigests.plain();
        chunks = null;
        tables = null;
        objects = null;
    }

    private Vault(byte[] data) {
        this.data = data;
        byte[] idKey = derived("chunk id");
        ids = ThreadLocal.withInitial(() -> mac(idKey));
        two = TwoDigests.keyed(idKey);
        chunks = new Xaes(derived("chunks"));
        tables = new Xaes(derived("pack tables"));
        objects = new Xaes(derived("objects"));
    }

    /** A vault with a new random data key. */
    public static Vault create() {
        byte[] key = new byte[KEY];
        new SecureRandom().nextBytes(key);
        return new Vault(key);
    }

    private static SecureRandom random() {
        try {
            // a generator per thread: the default one is shared and locks
            return SecureRandom.getInstance("DRBG");
        } catch (GeneralSecurityException e) {
            return new SecureRandom();
        }
    }

    private byte[] derived(String purpose) {
        return WrapKey.derive(data, "holdfast " + purpose);
    }

    private static Mac mac(byte[] key) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every JVM has HmacSHA256", e);
        }
    }

    /** Whether there is encryption. */
    public boolean sealed() {
        return data != null;
    }

    /** The data key encrypted, in base64. */
    String wrap(WrapKey with) {
        byte[] raw = new byte[Xaes.NONCE + KEY + Xaes.TAG];
        byte[] nonce = nonce();
        System.arraycopy(nonce, 0, raw, 0, nonce.length);
        with.cipher().seal(nonce, 0, WRAP, data, 0, KEY, raw, Xaes.NONCE);
        return Base64.getEncoder().encodeToString(raw);
    }

    /** The vault of a wrapped data key; null if that key did not wrap it. */
    static Vault unwrap(String wrapped, WrapKey with) {
        byte[] raw;
        try {
            raw = Base64.getDecoder().decode(wrapped);
        } catch (IllegalArgumentException e) {
            return null;
        }
        byte[] key = new byte[KEY];
        if (raw.length != Xaes.NONCE + KEY + Xaes.TAG
                || !with.cipher().open(raw, 0, WRAP, raw, Xaes.NONCE, raw.length - Xaes.NONCE, key, 0)) {
            return null;
        }
        return new Vault(key);
    }

    private static byte[] nonce() {
        byte[] nonce = new byte[Xaes.NONCE];
        RANDOM.get().nextBytes(nonce);
        return nonce;
    }

    /** Authenticates the config's lasting fields, in hex. */
    String configMac(String fields) {
        Mac mac = mac(derived("config"));
        return ChunkId.read(mac.doFinal(fields.getBytes(StandardCharsets.UTF_8)), 0)
                .hex();
    }

    /** A chunk's id: SHA-256 of its plain bytes, keyed (HMAC) where there is encryption. */
    public ChunkId chunkId(byte[] plain, int offset, int length) {
        if (data == null) {
            return ChunkId.of(plain, offset, length);
        }
        try {
            Mac mac = ids.get();
            byte[] to = out.get();
            mac.update(plain, offset, length);
            mac.doFinal(to, 0);
            return ChunkId.read(to, 0);
        } catch (ShortBufferException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * The ids of two chunks of one length, in little more than the time of one where the processor can.
     *
     * @param into gets the two
     */
    public void chunkIds(byte[] a, int aOffset, byte[] b, int bOffset, int length, ChunkId[] into) {
        if (two != null) {
            two.of(a, aOffset, b, bOffset, length, into);
        } else {
            into[0] = chunkId(a, aOffset, length);
            into[1] = chunkId(b, bOffset, length);
        }
    }

    private static byte[] chunkData(ChunkId id, int plainBytes, int encoding) {
        ByteBuffer b = ByteBuffer.allocate(ChunkId.BYTES + 5);
        id.write(b);
        return b.putInt(plainBytes).put((byte) encoding).array();
    }

    /** Seals a chunk; returns the bytes written, {@code length + OVERHEAD}. */
    int sealChunk(ChunkId id, int plainBytes, int encoding, byte[] in, int offset, int length, byte[] out, int to) {
        byte[] nonce = nonce();
        System.arraycopy(nonce, 0, out, to, nonce.length);
        chunks.seal(nonce, 0, chunkData(id, plainBytes, encoding), in, offset, length, out, to + Xaes.NONCE);
        return length + OVERHEAD;
    }

    /** Opens a chunk; false if it is not the one of that id, length and encoding. */
    boolean openChunk(ChunkId id, int plainBytes, int encoding, byte[] in, int offset, int length, byte[] out, int to) {
        return length > OVERHEAD
                && chunks.open(
                        in,
                        offset,
                        chunkData(id, plainBytes, encoding),
                        in,
                        offset + Xaes.NONCE,
                        length - Xaes.NONCE,
                        out,
                        to);
    }

    byte[] sealTable(byte[] plain) {
        byte[] sealed = new byte[plain.length + OVERHEAD];
        byte[] nonce = nonce();
        System.arraycopy(nonce, 0, sealed, 0, nonce.length);
        tables.seal(nonce, 0, TABLE, plain, 0, plain.length, sealed, Xaes.NONCE);
        return sealed;
    }

    /** The table, or null if it was not sealed with this key. */
    byte[] openTable(byte[] in, int offset, int length) {
        if (length < OVERHEAD) {
            return null;
        }
        byte[] plain = new byte[length - OVERHEAD];
        return tables.open(in, offset, TABLE, in, offset + Xaes.NONCE, length - Xaes.NONCE, plain, 0) ? plain : null;
    }

    /** Whether those bytes begin as a sealed metadata object does. */
    public static boolean looksSealed(byte[] object) {
        return looksSealed(ByteBuffer.wrap(object));
    }

    /**
     * The bytes to store of a metadata object; the same for the same content.
     *
     * @param name its key below the prefix: an object that is put under another name is refused
     */
    public byte[] sealObject(String name, byte[] plain) {
        if (data == null) {
            return plain;
        }
        ByteBuffer sealed = ByteBuffer.allocate(plain.length + OBJECT_OVERHEAD);
        sealObject(name, ByteBuffer.wrap(plain), sealed);
        return sealed.array();
    }

    /** The bytes to store of a metadata object that may be too large for the heap. */
    public ByteBuffer sealObject(String name, ByteBuffer plain, Room room) throws StorageException {
        if (data == null) {
            return plain;
        }
        ByteBuffer sealed = room.take(plain.remaining() + OBJECT_OVERHEAD);
        sealObject(name, plain, sealed);
        return sealed.position(0);
    }

    private void sealObject(String name, ByteBuffer plain, ByteBuffer sealed) {
        byte[] aad = name.getBytes(StandardCharsets.UTF_8);
        Mac mac = mac(derived("object nonces"));
        mac.update(ByteBuffer.allocate(4).putInt(aad.length).array());
        mac.update(aad);
        mac.update(plain.duplicate());
        byte[] nonce = Arrays.copyOf(mac.doFinal(), Xaes.NONCE);
        sealed.putInt(MAGIC).putShort((short) VERSION).putShort((short) 0).put(nonce);
        objects.sealAgain(nonce, aad, plain.duplicate(), sealed);
    }

    /**
     * The content of a stored metadata object.
     *
     * @param key the whole key, for messages
     * @throws StorageException REPOSITORY_CORRUPT if it is not sealed by this key under that name, or is sealed and should not
     *     be, or the other way round
     */
    public byte[] openObject(String key, String name, byte[] object) throws StorageException {
        if (data == null) {
            checkPlain(key, ByteBuffer.wrap(object));
            return object;
        }
        return openObject(key, name, ByteBuffer.wrap(object), Room.HEAP).array();
    }

    /** The content of a stored metadata object that may be too large for the heap. */
    public ByteBuffer openObject(String key, String name, ByteBuffer object, Room room) throws StorageException {
        if (data == null) {
            checkPlain(key, object);
            return object;
        }
        if (!looksSealed(object)) {
            throw StorageException.corrupt(
                    key, "is not encrypted, in a repository that is: it was not written by its key");
        }
        new Reader(key, object).magic(MAGIC, VERSION);
        int length = object.remaining() - OBJECT_OVERHEAD;
        ByteBuffer plain = room.take(Math.max(0, length));
        byte[] nonce = new byte[Xaes.NONCE];
        if (length >= 0) {
            object.get(object.position() + 8, nonce);
        }
        int from = object.position() + 8 + Xaes.NONCE;
        if (length < 0
                || !objects.open(
                        nonce,
                        name.getBytes(StandardCharsets.UTF_8),
                        object.slice(from, object.limit() - from),
                        plain)) {
            throw StorageException.corrupt(
                    key, "was changed, or written with another key, or belongs under another name");
        }
        return plain.position(0);
    }

    private static void checkPlain(String key, ByteBuffer object) throws StorageException {
        if (looksSealed(object)) {
            throw StorageException.corrupt(key, "is encrypted, in a repository that is not");
        }
    }

    static boolean looksSealed(ByteBuffer object) {
        return object.remaining() >= 4 && object.getInt(object.position()) == MAGIC;
    }

    /** What to say when a repository is encrypted and no key is configured. */
    static StorageException noKey(String key) {
        return new StorageException(
                ErrorCode.WRONG_KEY,
                "object " + key + ": the repository is encrypted and no key is configured",
                "set holdfast.storage.key-file, or holdfast.storage.key (HOLDFAST_STORAGE_KEY), to the repository's key");
    }
}
