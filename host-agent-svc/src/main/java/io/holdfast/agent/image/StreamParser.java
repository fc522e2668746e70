package io.holdfast.agent.image;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Takes the stream of a background snapshot apart: header, RAM setup, pages, device state. Incremental: bytes come in pieces of any
 * size. The input is not trusted: every length, offset and name is checked before it is used, and memory is bounded.
 *
 * <pre>
 *  HEADER ─▶ CONFIGURATION ─▶ START(ram) ─▶ sizes of blocks ─▶ EOS, footer ─┬─▶ PART/END: records, EOS, footer ─┐
 *                                                                          │                                  │
 *                                                                          └──────────────◀───────────────────┘
 *                                                                          └─▶ FULL ... : device state, to the end
 * </pre>
 *
 * Not thread-safe. After an exception the parser must not be used again.
 */
public final class StreamParser {
    /** Most RAM blocks. */
    static final int MAX_BLOCKS = 256;
    /** Most bytes of header and setup section each. */
    static final int MAX_SETUP = 1 << 16;
    /** Most bytes of device state with its description. */
    public static final int MAX_DEVICES = 64 << 20;

    private enum State {
        HEADER,
        CONFIG_TYPE,
        CONFIG_LENGTH,
        CONFIG_NAME,
        SECTION_TYPE,
        START_HEAD,
        START_NAME,
        SETUP_RECORD,
        BLOCK_NAME_LENGTH,
        BLOCK_NAME,
        PART_HEAD,
        RECORD,
        PAGE_NAME_LENGTH,
        PAGE_NAME,
        ZERO_BYTE,
        PAGE,
        FOOTER,
        DEVICES
    }

    private final StreamSink sink;
    private final long maxRam;
    private final ByteBuffer carry = ByteBuffer.allocate(RamBlock.PAGE).order(ByteOrder.BIG_ENDIAN);
    private final ByteArrayOutputStream head = new ByteArrayOutputStream(64);
    private final ByteArrayOutputStream setup = new ByteArrayOutputStream(512);
    private final ByteArrayOutputStream devices = new ByteArrayOutputStream(1 << 16);
    private final List<RamBlock> blocks = new ArrayList<>();
    private final Map<String, Integer> byName = new HashMap<>();

    private State state = State.HEADER;
    private int need = 8;
    private long consumed;
    private boolean inHead = true;
    private boolean inSetup;
    private boolean armed;
    private int ramSection;
    private long sizesLeft;
    private long place;
    private int block = -1;
    private long at;
    private int flags;

    /**
     * A parser at the beginning of a stream.
     *
     * @param maxRam the most bytes that all RAM blocks may have together
     */
    public StreamParser(StreamSink sink, long maxRam) {
        this.sink = sink;
        this.maxRam = maxRam;
    }

    /** Takes the bytes from position to limit, all of them. They are not used any more when it returns. */
    public void feed(ByteBuffer in) throws IOException {
        in.order(ByteOrder.BIG_ENDIAN);
        take(in);
        sink.fed();
    }

    private void take(ByteBuffer in) throws IOException {
        while (true) {
            if (state == State.DEVICES) {
                takeDevices(in);
                return;
            }
            if (carry.position() == 0 && in.remaining() >= need) {
                int end = in.position() + need;
                step(in);
                in.position(end);
            } else {
                int n = Math.min(need - carry.position(), in.remaining());
                carry.put(in.slice(in.position(), n));
                in.position(in.position() + n);
                if (carry.position() < need) {
                    return;
                }
                carry.flip();
                step(carry);
                carry.clear();
            }
        }
    }

    /**
     * The stream has ended.
     *
     * @return device sections and their description, still together, as they were: from the first FULL section to the end
     * @throws StreamException if it ended too early
     */
    public byte[] end() throws StreamException {
        if (state != State.DEVICES) {
            throw new StreamException("the stream ends in " + state + " after " + consumed + " bytes");
        }
        return devices.toByteArray();
    }

    /** Bytes taken so far. */
    public long consumed() {
        return consumed;
    }

    private void takeDevices(ByteBuffer in) throws StreamException {
        if (devices.size() + (long) in.remaining() > MAX_DEVICES) {
            throw broken("device state is larger than " + MAX_DEVICES + " bytes");
        }
        byte[] b = new byte[in.remaining()];
        in.get(b);
        devices.writeBytes(b);
        consumed += b.length;
    }

    private void step(ByteBuffer in) throws IOException {
        if (inHead) {
            keep(in, head);
        } else if (inSetup) {
            keep(in, setup);
        }
        int had = need;
        switch (state) {
            case HEADER -> {
                if (in.getInt() != StreamFormat.MAGIC) {
                    throw broken("not a QEMU migration stream");
                }
                int version = in.getInt();
                if (version != StreamFormat.VERSION) {
                    throw broken("stream version " + version + ", expected " + StreamFormat.VERSION);
                }
                next(State.CONFIG_TYPE, 1);
            }
            case CONFIG_TYPE -> {
                int type = in.get() & 0xff;
                if (type != StreamFormat.SECTION_CONFIGURATION) {
                    throw broken("section " + type + " where the configuration was expected");
                }
                next(State.CONFIG_LENGTH, 4);
            }
            case CONFIG_LENGTH -> {
                int n = in.getInt();
                if (n < 1 || n > 255) {
                    throw broken("configuration of " + (n & 0xffffffffL) + " bytes");
                }
                next(State.CONFIG_NAME, n);
            }
            case CONFIG_NAME -> {
                inHead = false;
                next(State.SECTION_TYPE, 1);
            }
            case SECTION_TYPE -> sectionType(in.get() & 0xff);
            case START_HEAD -> {
                ramSection = in.getInt();
                int n = in.get() & 0xff;
                next(State.START_NAME, n + 8);
            }
            case START_NAME -> {
                String name = text(in, need - 8);
                int instance = in.getInt();
                int version = in.getInt();
                if (!name.equals("ram") || instance != 0 || version != StreamFormat.RAM_SECTION_VERSION) {
                    throw broken("iterative section '" + name + "' version " + version + " is unknown here");
                }
                next(State.SETUP_RECORD, 8);
            }
            case SETUP_RECORD -> setupRecord(in.getLong());
            case BLOCK_NAME_LENGTH -> next(State.BLOCK_NAME, (in.get() & 0xff) + 8);
            case BLOCK_NAME -> newBlock(in);
            case PART_HEAD -> {
                checkSection(in.getInt());
                next(State.RECORD, 8);
            }
            case RECORD -> record(in.getLong());
            case PAGE_NAME_LENGTH -> {
                int n = in.get() & 0xff;
                if (n == 0) {
                    throw broken("RAM record with an empty block name");
                }
                next(State.PAGE_NAME, n);
            }
            case PAGE_NAME -> {
                String name = text(in, need);
                Integer found = byName.get(name);
                if (found == null) {
                    throw broken("RAM record of an unknown block '" + name + "'");
                }
                block = found;
                data();
            }
            case ZERO_BYTE -> {
                if (in.get() != 0) {
                    throw broken("a filled page that is not zero");
                }
                sink.zero(block, at);
                next(State.RECORD, 8);
            }
            case PAGE -> {
                sink.page(block, at, in);
                next(State.RECORD, 8);
            }
            case FOOTER -> footer(in);
            case DEVICES -> throw new IllegalStateException();
        }
        consumed += had;
    }

    private void sectionType(int type) throws IOException {
        if (blocks.isEmpty()) {
            if (type != StreamFormat.SECTION_START) {
                throw broken("section " + type + " where the RAM setup was expected");
            }
            inSetup = true;
            setup.write(type);
            next(State.START_HEAD, 5);
            return;
        }
        switch (type) {
            case StreamFormat.SECTION_PART, StreamFormat.SECTION_END -> next(State.PART_HEAD, 4);
            case StreamFormat.SECTION_FULL -> {
                if (!armed) {
                    throw broken("device state before any RAM");
                }
                devices.write(type);
                next(State.DEVICES, 0);
            }
            default -> throw broken("unknown section " + type);
        }
    }

    private void setupRecord(long word) throws IOException {
        int f = (int) (word & StreamFormat.RAM_FLAGS);
        long value = word & ~(long) StreamFormat.RAM_FLAGS;
        if (f == StreamFormat.RAM_MEM_SIZE && blocks.isEmpty()) {
            if (value <= 0 || value > maxRam) {
                throw broken("RAM of " + value + " bytes, allowed are " + maxRam);
            }
            sizesLeft = value;
            next(State.BLOCK_NAME_LENGTH, 1);
        } else if (f == StreamFormat.RAM_EOS && !blocks.isEmpty()) {
            next(State.FOOTER, 5);
        } else {
            throw broken("unknown RAM setup record 0x" + Long.toHexString(word));
        }
    }

    private void newBlock(ByteBuffer in) throws IOException {
        String name = text(in, need - 8);
        long size = in.getLong();
        if (name.isEmpty() || !name.chars().allMatch(c -> c > 0x20 && c < 0x7f)) {
            throw broken("RAM block with a bad name");
        }
        if (size <= 0 || size > sizesLeft || size % RamBlock.PAGE != 0) {
            throw broken("RAM block " + name + " of " + size + " bytes where " + sizesLeft + " are left");
        }
        if (blocks.size() == MAX_BLOCKS) {
            throw broken("more than " + MAX_BLOCKS + " RAM blocks");
        }
        if (byName.putIfAbsent(name, blocks.size()) != null) {
            throw broken("RAM block " + name + " twice");
        }
        blocks.add(new RamBlock(name, place, size));
        place += (size + RamBlock.ALIGNMENT - 1) / RamBlock.ALIGNMENT * RamBlock.ALIGNMENT;
        sizesLeft -= size;
        next(sizesLeft > 0 ? State.BLOCK_NAME_LENGTH : State.SETUP_RECORD, sizesLeft > 0 ? 1 : 8);
    }

    private void record(long word) throws IOException {
        flags = (int) (word & StreamFormat.RAM_FLAGS);
        at = word & ~(long) StreamFormat.RAM_FLAGS;
        if (flags == StreamFormat.RAM_EOS) {
            next(State.FOOTER, 5);
            return;
        }
        int kind = flags & ~StreamFormat.RAM_CONTINUE;
        if (kind != StreamFormat.RAM_PAGE && kind != StreamFormat.RAM_ZERO) {
            throw broken("unknown RAM record 0x" + Long.toHexString(word));
        }
        if (!armed) {
            armed = true;
            sink.armed();
        }
        if ((flags & StreamFormat.RAM_CONTINUE) == 0) {
            next(State.PAGE_NAME_LENGTH, 1);
        } else if (block < 0) {
            throw broken("RAM record without a block");
        } else {
            data();
        }
    }

    private void data() throws IOException {
        RamBlock b = blocks.get(block);
        if (at < 0 || at > b.bytes() - RamBlock.PAGE) {
            throw broken("page 0x" + Long.toHexString(at) + " is outside of block " + b.name());
        }
        if ((flags & StreamFormat.RAM_ZERO) != 0) {
            next(State.ZERO_BYTE, 1);
        } else {
            next(State.PAGE, RamBlock.PAGE);
        }
    }

    private void footer(ByteBuffer in) throws IOException {
        int type = in.get() & 0xff;
        if (type != StreamFormat.SECTION_FOOTER) {
            throw broken("byte " + type + " where the section's footer was expected");
        }
        checkSection(in.getInt());
        if (inSetup) {
            inSetup = false;
            sink.setup(head.toByteArray(), setup.toByteArray(), List.copyOf(blocks));
        }
        next(State.SECTION_TYPE, 1);
    }

    private void checkSection(int id) throws StreamException {
        if (id != ramSection) {
            throw broken("section id " + id + ", expected " + ramSection);
        }
    }

    private void keep(ByteBuffer in, ByteArrayOutputStream to) throws StreamException {
        if (to.size() + need > MAX_SETUP) {
            throw broken("setup is larger than " + MAX_SETUP + " bytes");
        }
        byte[] b = new byte[need];
        in.get(in.position(), b);
        to.writeBytes(b);
    }

    private void next(State to, int bytes) {
        state = to;
        need = bytes;
    }

    private StreamException broken(String what) {
        return new StreamException("stream at byte " + consumed + ": " + what);
    }

    private static String text(ByteBuffer in, int n) {
        byte[] b = new byte[n];
        in.get(b);
        return new String(b, StandardCharsets.ISO_8859_1);
    }
}
