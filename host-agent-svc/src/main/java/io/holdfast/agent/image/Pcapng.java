package io.holdfast.agent.image;

import io.holdfast.agent.domain.Frame;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Frames in flight as a pcapng file (IETF draft-ietf-opsawg-pcapng): a section header, one Ethernet interface with its name, an enhanced packet
 * block for each frame with microsecond timestamps. The 12-byte virtio-net header of a frame is in a local-use option (code 0x8001) of its
 * packet block, so that any pcapng reader shows the frame itself. Little endian; the reader takes the files of this writer only.
 */
final class Pcapng {
    /** Local-use option of a packet block: the frame's virtio-net header. */
    static final int OPTION_VNET = 0x8001;

    /** Largest frame with its virtio-net header. */
    static final int MAX_FRAME = 1 << 18;

    private static final int SHB = 0x0a0d0d0a;
    private static final int IDB = 1;
    private static final int EPB = 6;
    private static final int ORDER_MAGIC = 0x1a2b3c4d;
    private static final int LINKTYPE_ETHERNET = 1;
    private static final int OPTION_END = 0;
    private static final int OPTION_IF_NAME = 2;
    private static final int OPTION_SHB_USERAPPL = 4;
    private static final int OPTION_IF_TSRESOL = 9;

    private Pcapng() {}

    static byte[] encode(String interfaceName, List<Frame> frames) {
        var out = new ByteArrayOutputStream();
        var b = ByteBuffer.allocate(4096).order(ByteOrder.LITTLE_ENDIAN);
        b.putInt(ORDER_MAGIC).putShort((short) 1).putShort((short) 0).putLong(-1);
        option(b, OPTION_SHB_USERAPPL, "Holdfast".getBytes(StandardCharsets.US_ASCII));
        option(b, OPTION_END, new byte[0]);
        block(out, SHB, b);
        b.putShort((short) LINKTYPE_ETHERNET).putShort((short) 0).putInt(0);
        option(b, OPTION_IF_NAME, interfaceName.getBytes(StandardCharsets.UTF_8));
        option(b, OPTION_IF_TSRESOL, new byte[] {6});
        option(b, OPTION_END, new byte[0]);
        block(out, IDB, b);
        for (Frame f : frames) {
            if (f.data().length < Frame.VNET_HEADER || f.data().length > MAX_FRAME) {
                throw new IllegalArgumentException("frame of " + f.data().length + " bytes");
            }
            int n = f.data().length - Frame.VNET_HEADER;
            b = ByteBuffer.allocate(n + 64).order(ByteOrder.LITTLE_ENDIAN);
            b.putInt(0)
                    .putInt((int) (f.micros() >>> 32))
                    .putInt((int) f.micros())
                    .putInt(n)
                    .putInt(n);
            b.put(f.data(), Frame.VNET_HEADER, n);
            pad(b);
            option(b, OPTION_VNET, Arrays.copyOf(f.data(), Frame.VNET_HEADER));
            option(b, OPTION_END, new byte[0]);
            block(out, EPB, b);
        }
        return out.toByteArray();
    }

    private static void option(ByteBuffer b, int code, byte[] value) {
        b.putShort((short) code).putShort((short) value.length).put(value);
        pad(b);
    }

    private static void pad(ByteBuffer b) {
        while (b.position() % 4 != 0) {
            b.put((byte) 0);
        }
    }

    private static void block(ByteArrayOutputStream out, int type, ByteBuffer body) {
        int total = body.position() + 12;
        var word = ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(type)
                .putInt(total);
        out.write(word.array(), word.arrayOffset(), 8);
        out.write(body.array(), body.arrayOffset(), body.position());
        out.write(word.array(), word.arrayOffset() + 4, 4);
        body.clear();
    }

    /** Reads what {@link #encode} wrote. */
    static List<Frame> decode(byte[] file) throws IOException {
        var in = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        List<Frame> frames = new ArrayList<>();
        boolean first = true;
        while (in.hasRemaining()) {
            int start = in.position();
            if (in.remaining() < 12) {
                throw new StreamException("pcapng: a block is cut off");
            }
            int type = in.getInt();
            int total = in.getInt();
            if (first != (type == SHB)
                    || total < 12
                    || total % 4 != 0
                    || total > file.length - start
                    || in.getInt(start + total - 4) != total) {
                throw new StreamException("pcapng: block at byte " + start + " is not valid");
            }
            ByteBuffer body = in.slice(start + 8, total - 12).order(ByteOrder.LITTLE_ENDIAN);
            if (first && (body.remaining() < 16 || body.getInt() != ORDER_MAGIC)) {
                throw new StreamException("pcapng: byte order or section header is not valid");
            }
            if (type == EPB) {
                frames.add(packet(body, start));
            }
            first = false;
            in.position(start + total);
        }
        if (first) {
            throw new StreamException("pcapng: the file is empty");
        }
        return frames;
    }

    private static Frame packet(ByteBuffer body, int start) throws StreamException {
        if (body.remaining() < 20) {
            throw new StreamException("pcapng: packet at byte " + start + " is cut off");
        }
        body.getInt();
        long micros = (body.getInt() & 0xffffffffL) << 32 | (body.getInt() & 0xffffffffL);
        int n = body.getInt();
        body.getInt();
        int padded = (n + 3) & ~3;
        if (n < 0 || n > MAX_FRAME || padded > body.remaining()) {
            throw new StreamException("pcapng: packet at byte " + start + " of " + n + " bytes");
        }
        byte[] data = new byte[Frame.VNET_HEADER + n];
        body.get(body.position(), data, Frame.VNET_HEADER, n);
        body.position(body.position() + padded);
        while (body.remaining() >= 4) {
            int code = body.getShort() & 0xffff;
            int length = body.getShort() & 0xffff;
            if (length > body.remaining()) {
                throw new StreamException("pcapng: option at byte " + start + " is cut off");
            }
            if (code == OPTION_VNET && length == Frame.VNET_HEADER) {
                body.get(body.position(), data, 0, length);
                return new Frame(micros, data);
            }
            body.position(Math.min(body.limit(), body.position() + ((length + 3) & ~3)));
        }
        throw new StreamException("pcapng: packet at byte " + start + " has no virtio-net header");
    }
}
