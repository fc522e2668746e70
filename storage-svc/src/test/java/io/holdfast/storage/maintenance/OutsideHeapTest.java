package io.holdfast.storage.maintenance;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.SparseMap.Extent;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.LongAccumulator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the threads of an archive hold outside the heap is small: malloc would not give back what they held, for each archive has threads of
 * its own. Only the JVM's own accounts know of it, and only if it was started with them: a program of its own.
 */
class OutsideHeapTest {
    private static final int CHUNK = 64 * 1024;
    /** Six stretches, for two workers. */
    private static final int IMAGE = 24 << 20;

    private static final long MOST_KIB = 1024;

    @TempDir
    Path folder;

    @Test
    void anArchiveHoldsLittleOutsideTheHeap() throws Exception {
        Process p = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:NativeMemoryTracking=summary",
                        "-XX:+UseSerialGC",
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                        Archive.class.getName(),
                        folder.toString())
                .redirectErrorStream(true)
                .start();

        String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

        assertThat(p.waitFor()).as(said).isZero();
        Matcher most = Pattern.compile("ARCHIVED (\\d+) bytes, (\\d+) KiB").matcher(said);
        assertThat(most.find()).as(said).isTrue();
        assertThat(Long.parseLong(most.group(1))).isEqualTo(IMAGE);
        assertThat(Long.parseLong(most.group(2))).as(said).isPositive().isLessThanOrEqualTo(MOST_KIB);
    }

    /** Archives an image of random bytes into a bucket in memory, and says how much there was at most outside the heap meanwhile. */
    static final class Archive {
        private Archive() {}

        public static void main(String[] args) throws Exception {
            Path folder = Path.of(args[0]);
            Path images = folder.resolve("images");
            Path ram =
                    Files.createDirectories(images.resolve("cp-1").resolve("a")).resolve("ram.img");
            byte[] content = new byte[IMAGE];
            new Random(1).nextBytes(content);
            Files.write(ram, content);
            SimStore store = new SimStore(() -> {});
            Keys keys = new Keys("p");
            Repository repository = new Repository(store, keys, CHUNK, null);
            Path state = Files.createDirectories(folder.resolve("state"));
            Settings settings = new Settings("h1", images, state, CHUNK, 1 << 20, 2, 1);
            Archiver archiver = new Archiver(
                    store,
                    keys,
                    repository,
                    new Indexes(store, keys, repository, state),
                    new ZstdCodec(1),
                    file -> List.of(new Extent(0, IMAGE)),
                    settings);
            LongAccumulator most = new LongAccumulator(Math::max, 0);
            store.onPut = key -> most.accumulate(outsideHeap()); // the workers live then, and have read

            Archiver.Result done = archiver.archive("cp-1", List.of("a"), new Progress());

            System.out.printf("ARCHIVED %d bytes, %d KiB%n", done.figures().newBytes(), most.get());
        }

        /** KiB that Java code has outside the heap, as the JVM accounts for it. */
        private static long outsideHeap() {
            try {
                String all = (String) ManagementFactory.getPlatformMBeanServer()
                        .invoke(
                                new ObjectName("com.sun.management:type=DiagnosticCommand"),
                                "vmNativeMemory",
                                new Object[] {new String[] {"summary"}},
                                new String[] {String[].class.getName()});
                Matcher other = Pattern.compile("Other \\(reserved=(\\d+)KB").matcher(all);
                if (!other.find()) {
                    throw new IllegalStateException(all);
                }
                return Long.parseLong(other.group(1));
            } catch (javax.management.JMException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
