package io.holdfast.agent.net;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;

/**
 * A cookie: the marker frame that a host sends over each of its segments during a cut, from the bridge device, to everybody
 * (so that it takes every path that frames take). It says "all that I had sent before is ahead of this".
 *
 * <pre>
 * offset size
 *      0    6  destination ff:ff:ff:ff:ff:ff
 *      6    6  source 02:48:46 and the first 3 bytes of SHA-256(host): locally administered, one per host
 *     12    2  EtherType 0x88B5 (IEEE 802 local experimental 1)
 *     14   16  nonce of this cut, from the prepare command
 *     30    1  version of this layout, 1
 *     31    1  kind: 1 stopped, 2 captured, 3 failed
 *     32    4  number of this cookie on its host and cut, from 0, big-endian (tells repeats apart in a trace)
 *     36    1  length n of the host's id, 1 to 40
 *     37    n  host id, US-ASCII
 *   37+n       zeros up to 96 bytes in all
 * </pre>
 *
 * <p>stopped: all VMs of the host stand still, nothing more will be sent. captured: also their state is saved, and every frame in
 * flight that came is part of the checkpoint; it counts as stopped too. failed: the host gives the cut up and runs its VMs again; peers need not
 * wait for their limit. Cookies are repeated every 5 ms until every peer's have come, once more at once when a peer's
 * first stopped comes (its gate may have been open when ours came by), and a few times after the end.
 *
 * <p>A gate takes a frame for a cookie when its EtherType is 0x88B5 and its payload begins with the nonce. Such a frame never
 * reaches a guest: a closed gate diverts it to its hold TAP, an open one drops it. Cookies of the cut before are dropped too. Any other frame of that EtherType is ordinary data.
 *
 * @param kind what it says
 * @param number counts this host's cookies of this cut
 * @param host who says it
 */
public record Cookie(Kind kind, int number, String host) {
    /** What a cookie says. */
    public enum Kind {
        STOPPED(1),
        CAPTURED(2),
        FAILED(3);

        private final int code;

        Kind(int code) {
            this.code = code;
        }
    }

    public static final int ETHER_TYPE = 0x88B5;
    /** Size of a nonce in bytes. */
    public static final int NONCE = 16;

    static final int SIZE = 96;
    private static final int VERSION = 1;
    private static final int NONCE_AT = 14;
    private static final int HOST_AT = 37;

    /** The Ethernet frame, without FCS. */
    public byte[] encode(byte[] nonce) {
        byte[] name = host.getBytes(StandardCharsets.US_ASCII);
        if (name.length == 0 || name.length > 40 || nonce.length != NONCE) {
            throw new IllegalArgumentException("host or nonce of a wrong length");
        }
        byte[] hash = Digests.sha256(name);
        return ByteBuffer.allocate(SIZE)
                .put(new byte[] {-1, -1, -1, -1, -1, -1, 0x02, 0x48, 0x46, hash[0], hash[1], hash[2]})
                .putShort((short) ETHER_TYPE)
                .put(nonce)
                .put((byte) VERSION)
                .put((byte) kind.code)
                .putInt(number)
                .put((byte) name.length)
                .put(name)
                .array();
    }

    /** Whether an Ethernet frame at that offset is a cookie of this cut, readable or not. */
    public static boolean is(byte[] frame, int offset, byte[] nonce) {
        return frame.length >= offset + NONCE_AT + NONCE
                && (frame[offset + 12] & 0xff) == ETHER_TYPE >> 8
                && (frame[offset + 13] & 0xff) == (ETHER_TYPE & 0xff)
                && Arrays.equals(frame, offset + NONCE_AT, offset + NONCE_AT + NONCE, nonce, 0, NONCE);
    }

    /** Reads an Ethernet frame for which {@link #is} holds. Empty when its version or form is unknown: to be ignored. */
    public static Optional<Cookie> decode(byte[] frame, int offset) {
        if (frame.length < offset + HOST_AT + 1 || frame[offset + 30] != VERSION) {
            return Optional.empty();
        }
        int length = frame[offset + 36];
        if (length < 1 || length > 40 || frame.length < offset + HOST_AT + length) {
            return Optional.empty();
        }
        var host = new String(frame, offset + HOST_AT, length, StandardCharsets.US_ASCII);
        int number = ByteBuffer.wrap(frame).getInt(offset + 32);
        return switch (frame[offset + 31]) {
            case 1 -> Optional.of(new Cookie(Kind.STOPPED, number, host));
            case 2 -> Optional.of(new Cookie(Kind.CAPTURED, number, host));
            case 3 -> Optional.of(new Cookie(Kind.FAILED, number, host));
            default -> Optional.empty();
        };
    }
}
