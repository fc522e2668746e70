package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.NetworkSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** A whole storage service, with Quarkus and Kafka's client, stays within 512 MiB of memory whatever the size of an image. */
class StorageMemoryIT extends E2e {
    private static final String NET = "large";
    private static final long LIMIT_KIB = 512 << 10;

    @Test
    void archiveAndRestoreOfTwoGibibytesOfMemoryTakeAtMost512MiBOfEachService() {
        // Given services that have done whatever the tests before asked of them, and a VM that has written 2 GiB
        for (String host : List.of("h1", "h3")) {
            System.out.println("[e2e] storage-" + host + " after the tests before: VmHWM "
                    + kib(status(host), "VmHWM") / 1024 + " MiB");
        }
        var vm = RingNet.vm("a", lab().guest(), "2560MiB", "hf.run=touch,2048,100", List.of());
        completed(
                new Request.Deploy(new NetworkSpec(NET, List.of(), List.of(vm), Map.of("a", "h1")), NET),
                PublicEvent.DeployCompleted.class);
        Await.until("the guest's memory is full", LONG, () -> console("h1").contains("MEMORY full"));

        // When it is archived from one host and restored on another
        String checkpoint = checkpoint(NET).checkpoint();
        destroy(NET);
        Damage.deleteImages(lab(), checkpoint);
        completed(new Request.Restore(checkpoint, null, Map.of("a", "h3"), null), PublicEvent.RestoreCompleted.class);

        // Then its memory is whole, and neither service ever had more than that resident
        Await.until("the guest goes on", LONG, () -> console("h3").contains(" ok"));
        assertThat(console("h3")).doesNotContain("BROKEN");
        destroy(NET);
        for (String host : List.of("h1", "h3")) {
            String status = status(host);
            System.out.println("[e2e] storage-" + host + ": VmHWM " + kib(status, "VmHWM") / 1024 + " MiB; now RssAnon "
                    + kib(status, "RssAnon") / 1024 + ", RssFile " + kib(status, "RssFile") / 1024);
            assertThat(kib(status, "VmHWM")).as("%s: %s", host, status).isLessThanOrEqualTo(LIMIT_KIB);
        }
    }

    private static String console(String host) {
        return read(lab().console(host, NET, "a"));
    }

    /** What the kernel says of a host's storage service. */
    private static String status(String host) {
        Path state = lab().home().resolve("hosts").resolve(host).resolve("storage");
        List<Long> pids = Damage.processesWith("-Dholdfast.storage.state-dir=" + state + " ");
        assertThat(pids).hasSize(1);
        return read(Path.of("/proc/" + pids.get(0) + "/status"));
    }

    private static long kib(String status, String name) {
        Matcher m = Pattern.compile("^" + name + ":\\s+(\\d+) kB$", Pattern.MULTILINE)
                .matcher(status);
        assertThat(m.find()).as(status).isTrue();
        return Long.parseLong(m.group(1));
    }

    private static String read(Path file) {
        try {
            return Files.exists(file) ? Files.readString(file) : "";
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
