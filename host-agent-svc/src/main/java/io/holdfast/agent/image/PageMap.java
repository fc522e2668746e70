package io.holdfast.agent.image;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.BitSet;
import java.util.List;

/**
 * Which pages of each RAM block hold data; all others are zero and holes in {@code ram.img}. Encoded as run lengths: per block the number
 * of runs, then lengths of alternating runs, zero pages first; big-endian 32-bit. Not thread-safe.
 */
public final class PageMap {
    private final List<RamBlock> blocks;
    private final BitSet[] data;

    /** A map with no data. */
    public PageMap(List<RamBlock> blocks) {
        this.blocks = List.copyOf(blocks);
        this.data = new BitSet[blocks.size()];
        for (int i = 0; i < data.length; i++) {
            data[i] = new BitSet(); // grows to its last page with data: what a hostile image claims takes no room
        }
    }

    void set(int block, int page, boolean isData) {
        data[block].set(page, isData);
    }

    /** Whether a page holds data. */
    public boolean isData(int block, int page) {
        return data[block].get(page);
    }

    /** First page of data from this one on, or -1. */
    public int nextData(int block, int from) {
        return data[block].nextSetBit(from);
    }

    /** First zero page from this one on; the block's page count when there is none. */
    public int nextZero(int block, int from) {
        return Math.min(data[block].nextClearBit(from), blocks.get(block).pages());
    }

    /** Bytes of all pages that hold data. */
    public long dataBytes() {
        long pages = 0;
        for (BitSet b : data) {
            pages += b.cardinality();
        }
        return pages * RamBlock.PAGE;
    }

    byte[] encode() {
        var bytes = new ByteArrayOutputStream();
        try (var out = new DataOutputStream(bytes)) {
            for (int i = 0; i < data.length; i++) {
                int pages = blocks.get(i).pages();
                var runs = new ByteArrayOutputStream();
                int n = 0;
                try (var r = new DataOutputStream(runs)) {
                    int p = 0;
                    boolean ones = false;
                    while (p < pages) {
                        int end = ones ? nextZero(i, p) : nextData(i, p);
                        end = end < 0 ? pages : end;
                        r.writeInt(end - p);
                        n++;
                        p = end;
                        ones = !ones;
                    }
                }
                out.writeInt(n);
                runs.writeTo(out);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    static PageMap decode(byte[] encoded, List<RamBlock> blocks) throws StreamException {
        for (RamBlock b : blocks) {
            if (b.bytes() > RamBlock.MAX_BYTES) {
                throw new StreamException("RAM block " + b.name() + " of " + b.bytes() + " bytes");
            }
        }
        var map = new PageMap(blocks);
        try (var in = new DataInputStream(new ByteArrayInputStream(encoded))) {
            for (int i = 0; i < blocks.size(); i++) {
                int pages = blocks.get(i).pages();
                int runs = in.readInt();
                int p = 0;
                boolean ones = false;
                for (int r = 0; r < runs; r++) {
                    int n = in.readInt();
                    if (n < 0 || n > pages - p || (n == 0 && r > 0)) {
                        throw new StreamException(
                                "page map of block " + blocks.get(i).name() + " has a run of " + n);
                    }
                    if (ones) {
                        map.data[i].set(p, p + n);
                    }
                    p += n;
                    ones = !ones;
                }
                if (p != pages) {
                    throw new StreamException(
                            "page map of block " + blocks.get(i).name() + " covers " + p + " of " + pages + " pages");
                }
            }
            if (in.read() >= 0) {
                throw new StreamException("page map is too long");
            }
        } catch (java.io.EOFException e) {
            throw new StreamException("page map ends early", e);
        } catch (StreamException e) {
            throw e;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return map;
    }
}
