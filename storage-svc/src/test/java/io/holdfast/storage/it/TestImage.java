package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Random;

/** Image folders for tests: seeded, so two with the same seed are alike. */
public final class TestImage {
    private TestImage() {}

    /** Half holes; of the rest, half random and half text-like; odd sizes at the ends. */
    public static void write(Path folder, long ramBytes, long seed) throws IOException {
        Files.createDirectories(folder);
        Random random = new Random(seed);
        Path ram = folder.resolve("ram.img");
        try (FileChannel c =
                FileChannel.open(ram, StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.READ)) {
            int block = 256 * 1024;
            byte[] data = new byte[block];
            for (long at = 0; at + block <= ramBytes; at += 2L * block) {
                if (random.nextBoolean()) {
                    random.nextBytes(data);
                } else {
                    for (int i = 0; i < block; i++) {
                        data[i] = (byte) "struct page flags 0x0000 ".charAt((i + (i >> 7) * random.nextInt(2)) % 25);
                    }
                }
                c.write(ByteBuffer.wrap(data), at);
            }
            c.write(ByteBuffer.wrap(new byte[] {1}), ramBytes - 1);
        }
        byte[] devices = new byte[123_457];
        random.nextBytes(devices);
        Files.write(folder.resolve("devices.bin"), devices);
        Files.writeString(folder.resolve("machine.json"), "{\"format\":1,\"seed\":" + seed + "}");
        Files.write(folder.resolve("frames-0.pcapng"), new byte[0]);
    }

    /** That two image folders hold the same bytes, marks left out, and that holes stayed holes. */
    public static void assertSame(Path one, Path two) throws IOException {
        try (var dir = Files.list(one)) {
            for (Path p : dir.toList()) {
                String name = p.getFileName().toString();
                if (!name.equals("archived")) {
                    assertThat(Files.mismatch(p, two.resolve(name)))
                            .as("first difference of %s", name)
                            .isEqualTo(-1);
                }
            }
        }
        long blocksOne = allocated(one.resolve("ram.img"));
        long blocksTwo = allocated(two.resolve("ram.img"));
        assertThat(blocksTwo).as("allocated bytes of ram.img").isLessThanOrEqualTo(blocksOne + 1024 * 1024);
    }

    /** Bytes that a file takes on disk. */
    public static long allocated(Path file) throws IOException {
        Process p = new ProcessBuilder("stat", "-c", "%b", file.toString()).start();
        try (var in = p.inputReader()) {
            return Long.parseLong(in.readLine().strip()) * 512;
        }
    }
}
