package io.holdfast.storage.domain;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * A bucket, as plain as S3 servers agree on. Thread-safe. Transient errors are tried again inside, with back-off, for a
 * bounded time, which begins anew when a read has come further; then REPOSITORY_UNAVAILABLE. Every error names the object.
 */
public interface ObjectStore {
    /** Stores an object, durable when it returns. */
    void put(String key, byte[] data, int offset, int length) throws StorageException;

    /**
     * Stores an object, durable when it returns.
     *
     * @param sha256 digest of the data, which is known already and need not be made again
     */
    default void put(String key, byte[] data, int offset, int length, ChunkId sha256) throws StorageException {
        put(key, data, offset, length);
    }

    /** Stores an object that may be too large for the heap: what is left of the buffer, whose position stays. Durable when it returns. */
    default void put(String key, ByteBuffer data) throws StorageException {
        byte[] copy = new byte[data.remaining()];
        data.get(data.position(), copy);
        put(key, copy, 0, copy.length);
    }

    /**
     * Stores an object unless there is one of that key: atomic where the server knows {@code If-None-Match}, else by
     * looking first.
     *
     * @return false if there was one
     */
    boolean putIfAbsent(String key, byte[] data) throws StorageException;

    /**
     * Tries out whether {@link #putIfAbsent} is atomic on this server, on an object of that key, which nobody else may have; it is stored.
     */
    default boolean excludes(String key, byte[] data) throws StorageException {
        put(key, data, 0, data.length);
        return true;
    }

    /**
     * Reads a whole object.
     *
     * @param limit the most bytes that are taken
     * @throws StorageException REPOSITORY_CORRUPT if it is missing or larger
     */
    byte[] get(String key, long limit) throws StorageException;

    /**
     * Reads a whole object that may be too large for the heap.
     *
     * @param limit the most bytes that are taken
     * @param room takes it
     * @throws StorageException REPOSITORY_CORRUPT if it is missing or larger
     */
    default ByteBuffer get(String key, int limit, Room room) throws StorageException {
        return ByteBuffer.wrap(get(key, limit));
    }

    /** A part of an object, and who takes it as it comes. */
    interface Part {
        /** Where what is still wanted begins; moves on as it is taken, so that a read that broke off goes on there. */
        long from();

        /** Where the part ends. */
        long to();

        /**
         * Takes what comes, from {@link #from()} to {@link #to()}.
         *
         * @throws EOFException if it ends early; this and other IOExceptions are tried again from {@link #from()} on
         * @throws StorageException which is not tried again
         */
        void take(InputStream in) throws IOException, StorageException;
    }

    /**
     * Reads a part of an object while it comes.
     *
     * @throws StorageException REPOSITORY_CORRUPT if it is missing or shorter, or what the part throws
     */
    void read(String key, Part part) throws StorageException;

    /**
     * Reads a part of an object, all of it or nothing.
     *
     * @throws StorageException REPOSITORY_CORRUPT if it is missing or shorter
     */
    default void getRange(String key, long offset, byte[] into, int at, int length) throws StorageException {
        read(key, new Part() {
            private int done;

            @Override
            public long from() {
                return offset + done;
            }

            @Override
            public long to() {
                return offset + length;
            }

            @Override
            public void take(InputStream in) throws IOException {
                while (done < length) {
                    int n = in.read(into, at + done, length - done);
                    if (n < 0) {
                        throw new EOFException("the connection ended early");
                    }
                    done += n;
                }
            }
        });
    }

    /** Size of an object, empty when there is none. */
    OptionalLong size(String key) throws StorageException;

    /** Every object whose key begins so. An object that was stored before the call, and was not deleted, is among them. */
    List<Stored> list(String prefix) throws StorageException;

    /** Deletes an object; done too when there is none. In a bucket with versions the last version stays behind a marker. */
    void delete(String key) throws StorageException;

    /** The server's time, rounded down to the second by some, as it gives it when it is asked about an object that is there. */
    Instant time(String key) throws StorageException;

    /** So long the bucket locks each object that is stored, of itself; zero when it does not, or has no Object Lock. */
    Duration retention() throws StorageException;

    /**
     * Locks an object against deletion by anyone until a time (S3 Object Lock). One that is locked for longer stays so, and counts as done.
     *
     * @return false if the bucket has no Object Lock: then nothing is locked
     * @throws StorageException REPOSITORY_CORRUPT if the object is missing
     */
    boolean lock(String key, Instant until) throws StorageException;

    /** Until when an object is locked against deletion; empty when it is not, or the bucket has no Object Lock. */
    Optional<Instant> lockedUntil(String key) throws StorageException;

    /**
     * A stored object.
     *
     * @param modified when the server stored it, on the server's clock, rounded down to the second by some
     */
    record Stored(String key, long bytes, Instant modified) {}
}
