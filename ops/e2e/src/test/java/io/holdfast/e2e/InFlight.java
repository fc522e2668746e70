package io.holdfast.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A frame that was in flight at a cut, as an image keeps it.
 *
 * @param micros when the agent took it, microseconds since the epoch
 * @param length bytes
 * @param type EtherType
 */
record InFlight(long micros, int length, int type) {
    private static final int PACKET = 6;

    /** The file of a NIC's frames in flight; it exists where there were any. */
    static Path file(Lab lab, String host, String checkpoint, String vm, int nic) {
        return lab.hosts().get(host).images().resolve(checkpoint).resolve(vm).resolve("frames-" + nic + ".pcapng");
    }

    /** The packets of a pcapng file, read as any reader would; none if there is no file. */
    static List<InFlight> read(Path file) {
        List<InFlight> all = new ArrayList<>();
        if (!Files.exists(file)) {
            return all;
        }
        ByteBuffer in;
        try {
            in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        for (int at = 0; at < in.limit(); at += in.getInt(at + 4)) {
            if (in.getInt(at) == PACKET) {
                long micros = ((long) in.getInt(at + 12) << 32) | Integer.toUnsignedLong(in.getInt(at + 16));
                int type = in.order(ByteOrder.BIG_ENDIAN).getShort(at + 28 + 12) & 0xffff;
                in.order(ByteOrder.LITTLE_ENDIAN);
                all.add(new InFlight(micros, in.getInt(at + 24), type));
            }
        }
        return all;
    }
}
