package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A VM's part of a checkpoint: its image's files as lists of chunks. Big-endian; the same image gives the same bytes.
 * A full 4 GiB of RAM in 64 KiB chunks takes 2 MiB.
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
    public record File(String name, long bytes, ChunkId sha256, List<Run> runs) {
        public File {
            runs = List.copyOf(runs);
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
     * @param ids their ids, 32 bytes each
     */
    public record Run(long first, byte[] ids) {
        public int count() {
            return ids.length / ChunkId.BYTES;
        }

        public ChunkId id(int i) {
            return ChunkId.read(ids, i * ChunkId.BYTES);
        }
    }

    /** Chunks in all. */
    public long chunks() {
        return files.stream()
                .flatMap(f -> f.runs().stream())
                .mapToLong(Run::count)
                .sum();
    }

    /** Bytes of the files, holes included. */
    public long logicalBytes() {
        return files.stream().mapToLong(File::bytes).sum();
    }

    /** Bytes of the files' chunks. */
    public long dataBytes() {
        return files.stream().mapToLong(f -> f.dataBytes(chunkBytes)).sum();
    }

    /** The object's bytes. */
    public byte[] encode() {
        long n = 4 + 2 + 2 + 4 + 2L + checkpoint.length() + 2 + vm.length() + 4 + ChunkId.BYTES;
        for (File f : files) {
            n += 2 + f.name().length() + 8 + 1 + (f.sha256() == null ? 0 : ChunkId.BYTES) + 4;
            for (Run r : f.runs()) {
                n += 8 + r.ids().length;
            }
        }
        if (n > Limits.MAX_VM_MANIFEST) {
            throw new IllegalArgumentException("the manifest of " + vm + " is over the limit: " + n + " bytes");
        }
        ByteBuffer out = ByteBuffer.allocate((int) n);
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
            long at = 0;
            for (Run r : f.runs()) {
                out.putInt(Math.toIntExact(r.first() - at)).putInt(r.count()).put(r.ids());
                at = r.first() + r.count();
            }
        }
        ChunkId.of(out.array(), 0, out.position()).write(out);
        return out.array();
    }

    private static void text(ByteBuffer out, String s) {
        byte[] raw = s.getBytes(StandardCharsets.US_ASCII);
        out.putShort((short) raw.length).put(raw);
    }

    /** Reads a manifest and checks everything: digest, limits, names, that runs lie within their file. */
    public static VmManifest decode(String object, byte[] data) throws StorageException {
        if (data.length < ChunkId.BYTES) {
            throw StorageException.corrupt(object, "too short for a VM manifest");
        }
        int body = data.length - ChunkId.BYTES;
        Reader in = new Reader(object, data, 0, body);
        in.magic(MAGIC, VERSION);
        if (!ChunkId.of(data, 0, body).equals(ChunkId.read(data, body))) {
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
        List<Run> list = new ArrayList<>();
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
            byte[] ids = new byte[n * ChunkId.BYTES];
            in.bytes(ids, 0, ids.length);
            list.add(new Run(first, ids));
            at = first + n;
        }
        return new File(name, bytes, digest, list);
    }
}
