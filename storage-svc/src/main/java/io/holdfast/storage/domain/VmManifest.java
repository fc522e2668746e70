package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Set;

/**
 * A VM's part of a checkpoint: its image's files as lists of chunks. Big-endian; the same image gives the same bytes.
 * A full 4 GiB of RAM in 64 KiB chunks takes 2 MiB. A large one is in mapped files: what is here refers to it.
 *
 * <pre>
 * header   magic "HFVM" u32 | version u16 = 1 | flags u16 = 0 | chunk size u32
 *          | checkpoint text | vm text | file count u32
 * files    each: name text | size u64 | has digest u8 (0, 1) | SHA-256 of the file, 32 bytes, if it has | run count u32
 *          runs: zero chunks before it u32 | chunk count u32 | chunk ids, 32 bytes each
 * trailer  SHA-256 of all before, 32 bytes
 * text     length u16 | UTF-8
 * </pre>
 *
 * Chunk {@code i} of a file is its bytes from {@code i * chunk size}, the last one may be shorter; chunks in no run are
 * zeros.
 *
 * @param checkpoint id of the checkpoint
 * @param vm name of the VM
 * @param chunkBytes size of chunks
 * @param files the files, ascending by name
 */
public record VmManifest(String checkpoint, String vm, int chunkBytes, List<File> files) {
    static final int MAGIC = 0x4846564d;
    static final int VERSION = 1;

    public VmManifest {
        files = List.copyOf(files);
    }

    /**
     * A file.
     *
     * @param name its name in the image folder
     * @param bytes its size
     * @param sha256 its digest, or null where only its chunks have one
     * @param runs stretches of chunks that are not zero, ascending, apart
     */
    public record File(String name, long bytes, ChunkId sha256, Runs runs) {
        /** With runs that are few. */
        public File(String name, long bytes, ChunkId sha256, List<Run> runs) {
            this(name, bytes, sha256, Runs.of(runs));
        }

        /** Bytes that are in chunks. */
        public long dataBytes(int chunkBytes) {
            long n = 0;
            for (Run r : runs) {
                n += Math.min(bytes, (r.first() + r.count()) * chunkBytes) - r.first() * chunkBytes;
            }
            return n;
        }
    }

    /**
     * Chunks side by side.
     *
     * @param first number of the first chunk
     * @param ids their ids, 32 bytes each, from 0 to the limit
     */
    public record Run(long first, ByteBuffer ids) {
        public Run(long first, byte[] ids) {
            this(first, ByteBuffer.wrap(ids));
        }

        public int count() {
            return ids.limit() / ChunkId.BYTES;
        }

        public ChunkId id(int i) {
            return ChunkId.read(ids, i * ChunkId.BYTES);
        }
    }

    /** The runs of a file, as they are in the object: however many, they take no memory of their own. Immutable. */
    public static final class Runs implements Iterable<Run> {
        /** Bytes before a run's ids. */
        private static final int HEAD = 8;

        private final int count;
        private final ByteBuffer raw;

        private Runs(int count, ByteBuffer raw) {
            this.count = count;
            this.raw = raw;
        }

        /** Those runs, which are few. */
        public static Runs of(List<Run> runs) {
            ByteBuffer raw = ByteBuffer.allocate(Math.toIntExact(
                    runs.stream().mapToLong(r -> HEAD + r.ids().limit()).sum()));
            long at = 0;
            for (Run r : runs) {
                raw.putInt(Math.toIntExact(r.first() - at)).putInt(r.count());
                raw.put(r.ids().duplicate().position(0));
                at = r.first() + r.count();
            }
            return new Runs(runs.size(), raw.flip());
        }

        /** How many there are. */
        public int size() {
            return count;
        }

        @Override
        public Iterator<Run> iterator() {
            return new Iterator<>() {
                private int left = count;
                private int position;
                private long at;

                @Override
                public boolean hasNext() {
                    return left > 0;
                }

                @Override
                public Run next() {
                    if (left-- <= 0) {
                        throw new NoSuchElementException();
                    }
                    long first = at + raw.getInt(position);
                    int n = raw.getInt(position + 4);
                    Run r = new Run(first, raw.slice(position + HEAD, n * ChunkId.BYTES));
                    position += HEAD + n * ChunkId.BYTES;
                    at = first + n;
                    return r;
                }
            };
        }

        @Override
        public boolean equals(Object o) {
            return o instanceof Runs r && r.count == count && r.raw.equals(raw);
        }

        @Override
        public int hashCode() {
            return raw.hashCode();
        }
    }

    /** Chunks of a file as they are found; what makes runs of them. */
    public interface Source {
        /** Tells every chunk that is not zeros, ascending; each time the same. */
        void each(Each each);

        /** Takes a chunk: its number, and where its id is. */
        interface Each {
            void chunk(long number, ByteBuffer ids, int at);
        }
    }

    /**
     * The runs of those chunks, however many.
     *
     * @throws StorageException if they are more than a manifest may have
     */
    public static Runs runs(Source source, Room room) throws StorageException {
        var sizing = new Source.Each() {
            private long next = -1;
            private int runs;
            private long chunks;

            @Override
            public void chunk(long number, ByteBuffer ids, int at) {
                runs += number == next ? 0 : 1;
                chunks++;
                next = number + 1;
            }
        };
        source.each(sizing);
        long bytes = (long) Runs.HEAD * sizing.runs + ChunkId.BYTES * sizing.chunks;
        if (bytes > Limits.MAX_VM_MANIFEST) {
            throw tooLarge("a file of " + sizing.chunks + " chunks");
        }
        ByteBuffer raw = room.take((int) bytes);
        source.each(new Source.Each() {
            private long next = -1;
            private long end;
            private int head;
            private int position;

            @Override
            public void chunk(long number, ByteBuffer ids, int at) {
                if (number != next) {
                    head = position;
                    raw.putInt(head, Math.toIntExact(number - end));
                    position += Runs.HEAD;
                }
                raw.put(position, ids, at, ChunkId.BYTES);
                position += ChunkId.BYTES;
                raw.putInt(head + 4, raw.getInt(head + 4) + 1);
                next = number + 1;
                end = next;
            }
        });
        return new Runs(sizing.runs, raw);
    }

    private static StorageException tooLarge(String what) {
        return new StorageException(
                ErrorCode.FILE_UNAVAILABLE,
                what + " is over the limit of a VM manifest, " + Limits.MAX_VM_MANIFEST + " bytes",
                "use a repository with larger chunks");
    }

    /** Chunks in all. */
    public long chunks() {
        long n = 0;
        for (File f : files) {
            n += (f.runs().raw.limit() - (long) Runs.HEAD * f.runs().size()) / ChunkId.BYTES;
        }
        return n;
    }

    /** Bytes of the files, holes included. */
    public long logicalBytes() {
        return files.stream().mapToLong(File::bytes).sum();
    }

    /** Bytes of the files' chunks. */
    public long dataBytes() {
        return files.stream().mapToLong(f -> f.dataBytes(chunkBytes)).sum();
    }

    /** The object's bytes, of a manifest that is small. */
    public byte[] encode() {
        try {
            return encode(Room.HEAP).array();
        } catch (StorageException e) {
            throw new IllegalArgumentException(e);
        }
    }

    /**
     * The object's bytes.
     *
     * @throws StorageException if they are more than readers take
     */
    public ByteBuffer encode(Room room) throws StorageException {
        long n = 4 + 2 + 2 + 4 + 2L + checkpoint.length() + 2 + vm.length() + 4 + ChunkId.BYTES;
        for (File f : files) {
            n += 2
                    + f.name().length()
                    + 8
                    + 1
                    + (f.sha256() == null ? 0 : ChunkId.BYTES)
                    + 4
                    + f.runs().raw.limit();
        }
        if (n > Limits.MAX_VM_MANIFEST) {
            throw tooLarge("the manifest of VM " + vm + ", " + n + " bytes,");
        }
        ByteBuffer out = room.take((int) n);
        out.putInt(MAGIC).putShort((short) VERSION).putShort((short) 0).putInt(chunkBytes);
        text(out, checkpoint);
        text(out, vm);
        out.putInt(files.size());
        for (File f : files) {
            text(out, f.name());
            out.putLong(f.bytes());
            out.put((byte) (f.sha256() == null ? 0 : 1));
            if (f.sha256() != null) {
                f.sha256().write(out);
            }
            out.putInt(f.runs().size());
            out.put(f.runs().raw.duplicate().position(0));
        }
        ChunkId.of(out.duplicate().flip()).write(out);
        return out.flip();
    }

    private static void text(ByteBuffer out, String s) {
        byte[] raw = s.getBytes(StandardCharsets.US_ASCII);
        out.putShort((short) raw.length).put(raw);
    }

    /** Reads a manifest and checks everything: digest, limits, names, that runs lie within their file. */
    public static VmManifest decode(String object, byte[] data) throws StorageException {
        return decode(object, ByteBuffer.wrap(data));
    }

    /** Reads a manifest and checks everything; it stays in the buffer, which nobody may change then. */
    public static VmManifest decode(String object, ByteBuffer data) throws StorageException {
        if (data.limit() < ChunkId.BYTES) {
            throw StorageException.corrupt(object, "too short for a VM manifest");
        }
        int body = data.limit() - ChunkId.BYTES;
        ByteBuffer content = data.slice(0, body);
        Reader in = new Reader(object, content);
        in.magic(MAGIC, VERSION);
        if (!ChunkId.of(content).equals(ChunkId.read(data, body))) {
            throw in.bad("its digest is wrong");
        }
        int chunkBytes = in.count("chunk size", Limits.MAX_CHUNK);
        if (chunkBytes < Limits.MIN_CHUNK || Integer.bitCount(chunkBytes) != 1) {
            throw in.bad("chunk size " + chunkBytes + " is out of bounds");
        }
        String checkpoint = in.text(40);
        String vm = in.text(40);
        if (!Names.valid(checkpoint) || !Names.valid(vm)) {
            throw in.bad("bad name " + Names.printable(checkpoint) + " or " + Names.printable(vm));
        }
        int count = in.count("file count", Limits.MAX_FILES);
        List<File> files = new ArrayList<>();
        Set<String> names = new HashSet<>();
        for (int i = 0; i < count; i++) {
            files.add(file(in, chunkBytes, names));
        }
        if (in.remaining() > 0) {
            throw in.bad(in.remaining() + " bytes too many");
        }
        return new VmManifest(checkpoint, vm, chunkBytes, files);
    }

    private static File file(Reader in, int chunkBytes, Set<String> names) throws StorageException {
        String name = in.text(100);
        if (!Names.validFile(name) || !names.add(name)) {
            throw in.bad("bad or repeated file name " + Names.printable(name));
        }
        long bytes = in.size("file size", Limits.MAX_FILE);
        ChunkId digest =
                switch (in.u8()) {
                    case 0 -> null;
                    case 1 -> in.id();
                    default -> throw in.bad("bad digest mark");
                };
        long chunks = (bytes + chunkBytes - 1) / chunkBytes;
        int runs = in.count("run count", Integer.MAX_VALUE);
        int from = in.position();
        long at = 0;
        for (int r = 0; r < runs; r++) {
            long first = at + in.count("gap", Integer.MAX_VALUE);
            int n = in.count("run length", Integer.MAX_VALUE);
            if (n == 0 || first + n > chunks) {
                throw in.bad("a run of file " + name + " lies outside of it");
            }
            if ((long) n * ChunkId.BYTES > in.remaining()) {
                throw in.bad("ends early, in a run of file " + name);
            }
            in.skip(n * ChunkId.BYTES);
            at = first + n;
        }
        return new File(name, bytes, digest, new Runs(runs, in.since(from)));
    }
}
