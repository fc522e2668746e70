package io.holdfast.agent.image;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * {@code devices.bin}: all of a QEMU migration stream that is not RAM pages, and the map of the pages. Magic {@code HFDEVICE}, 32-bit version,
 * 32-bit number of sections; each section a four-letter tag, a 64-bit length and its bytes; last the SHA-256 of all before. Big endian. A reader
 * refuses a tag that it does not know unless its first letter is lower case.
 *
 * @param head stream magic, version and configuration section ({@code HEAD})
 * @param setup the RAM setup section ({@code RAMS})
 * @param pageMap encoded {@link PageMap} ({@code PMAP})
 * @param devices device sections, without the stream's end mark ({@code DEVS})
 * @param description QEMU's JSON description of the device sections ({@code DESC})
 */
public record DevicesFile(byte[] head, byte[] setup, byte[] pageMap, byte[] devices, byte[] description) {
    static final byte[] MAGIC = "HFDEVICE".getBytes(StandardCharsets.US_ASCII);
    static final int VERSION = 1;
    static final long MAX_BYTES = 512L << 20;
    private static final int MAX_SECTIONS = 64;

    /**
     * Divides what a stream has after its last page.
     *
     * @param tail device sections, end mark, description section, to the end of the stream
     */
    public static DevicesFile of(byte[] head, byte[] setup, PageMap pages, byte[] tail) throws StreamException {
        int at = description(tail);
        return new DevicesFile(
                head,
                setup,
                pages.encode(),
                Arrays.copyOf(tail, at - 1),
                Arrays.copyOfRange(tail, at + 5, tail.length));
    }

    /** End mark, then description: what follows the device sections in a stream that is loaded without post-copy. */
    public byte[] trailer() {
        return ByteBuffer.allocate(6 + description.length)
                .put((byte) StreamFormat.SECTION_EOF)
                .put((byte) StreamFormat.SECTION_VMDESCRIPTION)
                .putInt(description.length)
                .put(description)
                .array();
    }

    /** Where the description's section begins: the last place from which a length reaches exactly to the end. */
    private static int description(byte[] tail) throws StreamException {
        var b = ByteBuffer.wrap(tail);
        for (int at = tail.length - 6; at > 5; at--) {
            if (tail[at] == StreamFormat.SECTION_VMDESCRIPTION
                    && b.getInt(at + 1) == tail.length - at - 5
                    && tail[at - 1] == StreamFormat.SECTION_EOF
                    && tail[at + 5] == '{'
                    && (tail[at - 6] & 0xff) == StreamFormat.SECTION_FOOTER) {
                return at;
            }
        }
        throw new StreamException("the stream ended before the device state was complete");
    }

    byte[] encode() {
        var bytes = new ByteArrayOutputStream();
        try (var out = new DataOutputStream(bytes)) {
            out.write(MAGIC);
            out.writeInt(VERSION);
            out.writeInt(5);
            section(out, "HEAD", head);
            section(out, "RAMS", setup);
            section(out, "PMAP", pageMap);
            section(out, "DEVS", devices);
            section(out, "DESC", description);
            out.write(Digests.sha256().digest(bytes.toByteArray()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static void section(DataOutputStream out, String tag, byte[] body) throws IOException {
        out.write(tag.getBytes(StandardCharsets.US_ASCII));
        out.writeLong(body.length);
        out.write(body);
    }

    /** Reads and checks a file. */
    static DevicesFile read(Path file) throws IOException {
        long size = Files.size(file);
        if (size > MAX_BYTES) {
            throw new StreamException(file + " has " + size + " bytes, allowed are " + MAX_BYTES);
        }
        try {
            return decode(Files.readAllBytes(file));
        } catch (StreamException e) {
            throw new StreamException(file + ": " + e.getMessage(), e);
        }
    }

    static DevicesFile decode(byte[] bytes) throws StreamException {
        if (bytes.length < MAGIC.length + 8 + 32 || !Arrays.equals(bytes, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
            throw new StreamException("not a Holdfast device file");
        }
        var in = ByteBuffer.wrap(bytes, 0, bytes.length - 32).position(MAGIC.length);
        int version = in.getInt();
        if (version != VERSION) {
            throw new StreamException("version " + version + " is not known, only " + VERSION);
        }
        var digest = Digests.sha256();
        digest.update(bytes, 0, bytes.length - 32);
        if (!Arrays.equals(digest.digest(), Arrays.copyOfRange(bytes, bytes.length - 32, bytes.length))) {
            throw new StreamException("the digest is wrong");
        }
        int count = in.getInt();
        if (count < 0 || count > MAX_SECTIONS) {
            throw new StreamException(count + " sections");
        }
        Map<String, byte[]> found = new HashMap<>();
        for (int i = 0; i < count; i++) {
            if (in.remaining() < 12) {
                throw new StreamException("a section's head is cut off");
            }
            byte[] tag = new byte[4];
            in.get(tag);
            String name = new String(tag, StandardCharsets.ISO_8859_1);
            long n = in.getLong();
            if (n < 0 || n > in.remaining()) {
                throw new StreamException(
                        "section " + name + " of " + n + " bytes where " + in.remaining() + " are left");
            }
            byte[] body = new byte[(int) n];
            in.get(body);
            switch (name) {
                case "HEAD", "RAMS", "PMAP", "DEVS", "DESC" -> {
                    if (found.put(name, body) != null) {
                        throw new StreamException("section " + name + " twice");
                    }
                }
                default -> {
                    if (!Character.isLowerCase(name.charAt(0))) {
                        throw new StreamException("section " + name + " is not known and not optional");
                    }
                }
            }
        }
        if (in.hasRemaining() || found.size() != 5) {
            throw new StreamException("sections are missing or too long");
        }
        if (found.get("DEVS").length + (long) found.get("DESC").length > StreamParser.MAX_DEVICES) {
            throw new StreamException("device state is larger than " + StreamParser.MAX_DEVICES + " bytes");
        }
        return new DevicesFile(
                found.get("HEAD"), found.get("RAMS"), found.get("PMAP"), found.get("DEVS"), found.get("DESC"));
    }
}
