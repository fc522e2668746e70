package io.holdfast.storage.domain;

/** What readers take at most. Input from the bucket is hostile until it is checked. */
public final class Limits {
    /** Smallest chunk size. */
    public static final int MIN_CHUNK = 4 * 1024;
    /** Largest chunk size. */
    public static final int MAX_CHUNK = 4 * 1024 * 1024;
    /** Largest pack in bytes. */
    public static final int MAX_PACK = 256 * 1024 * 1024;
    /** Most chunks of a pack. */
    public static final int MAX_PACK_CHUNKS = 1 << 16;
    /** Most packs of one index. */
    public static final int MAX_INDEX_PACKS = 1 << 16;
    /** Largest index in bytes. */
    public static final int MAX_INDEX = 256 * 1024 * 1024;
    /** Largest VM manifest in bytes: 2 TiB of data in chunks of 64 KiB. */
    public static final int MAX_VM_MANIFEST = 1024 * 1024 * 1024;
    /** Largest checkpoint manifest in bytes. */
    public static final int MAX_CHECKPOINT_MANIFEST = 16 * 1024 * 1024;
    /** Largest mark of garbage collection in bytes; what is more is in several. */
    public static final int MAX_MARK = 8 * 1024 * 1024;
    /** Most bytes of all marks of a repository together, and of all sweeps: a million packs. */
    public static final int MAX_MARKS = 64 * 1024 * 1024;
    /** Largest hold in bytes. */
    public static final int MAX_HOLD = 64 * 1024;
    /** Largest config in bytes. */
    public static final int MAX_CONFIG = 64 * 1024;
    /** Most files of an image. */
    public static final int MAX_FILES = 256;
    /** Largest file of an image in bytes, 16 TiB. */
    public static final long MAX_FILE = 1L << 44;

    private Limits() {}
}
