package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** A bucket that suffered: what is broken is told with who suffers, nothing broken is ever run, and there is a way back. */
class MaintenanceIT extends E2e {
    private static final String NET = "keep";

    @Test
    void aDamagedPackIsNamedAndNeverRun_andTheWaysBackWork() throws IOException {
        // Given a checkpoint whose images are only in the bucket, and a bit of it flipped there
        deployRing(NET, 2, placement(2, "h1")); // one host: two that upload at once may store a chunk twice
        List<Path> before = packs();
        String first = checkpoint(NET).checkpoint();
        Damage.deleteImages(lab(), first);
        Path pack = packs().stream()
                .filter(p -> !before.contains(p))
                .max(Comparator.comparingLong(p -> p.toFile().length()))
                .orElseThrow();
        String key = "packs/" + pack.getFileName();
        byte[] good = Files.readAllBytes(pack);
        byte[] flipped = good.clone();
        flipped[good.length / 2] ^= 1;
        Files.write(pack, flipped);

        // When it is verified, then: the pack and the checkpoint are named
        assertThat(verify(null).damages()).anySatisfy(d -> {
            assertThat(d.key()).isEqualTo(key);
            assertThat(d.what()).isEqualTo("corrupt");
            assertThat(d.checkpoints()).contains(first);
        });

        // When it is to be restored, then: that fails, names the pack and changes nothing
        PublicEvent end = ended(new Request.Restore(first, "copy", Map.of("a", "h3", "b", "h3"), null));
        assertThat(codes(end)).contains(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(((PublicEvent.Failed) end).message()).contains(key);
        assertThat(api().instance("copy")).isEmpty();
        assertThat(leftovers("copy")).isEmpty();
        watch().awaitProgress(NET, 3, 20, LONG);

        // When the pack is deleted, then: the next checkpoint does not count on it and is whole, and the older one
        // suffers still
        Files.delete(pack);
        assertThat(verify(first).damages()).extracting(Maintenance.Damage::what).contains("missing");
        String second = checkpoint(NET).checkpoint();
        assertThat(verify(second).damages()).isEmpty();

        // When a copy of the pack is put back, then: all is well, and the older one runs
        Files.write(pack, good);
        completed(new Request.Rebuild(false), PublicEvent.RebuildCompleted.class);
        assertThat(verify(null).damagedCheckpoints()).doesNotContain(first, second);
        completed(
                new Request.Restore(first, "copy", Map.of("a", "h3", "b", "h1"), null),
                PublicEvent.RestoreCompleted.class);
        watch().awaitProgress("copy", 3, 20, LONG);
        destroy("copy");

        // When one is held, then: no forget removes it until it is released
        completed(new Request.Hold(first, "evidence", null), PublicEvent.HoldCompleted.class);
        assertThat(codes(ended(new Request.Forget(List.of(first), null, null, null))))
                .contains(ErrorCode.CHECKPOINT_HELD);
        var policy = new Request.Forget(null, NET, new KeepPolicy(1, null, null, null, null), false);
        assertThat(completed(policy, PublicEvent.ForgetCompleted.class).result().forgotten())
                .isEmpty();
        completed(new Request.Release(first), PublicEvent.ReleaseCompleted.class);
        assertThat(completed(policy, PublicEvent.ForgetCompleted.class).result().forgotten())
                .extracting(Maintenance.ForgetEntry::checkpoint)
                .containsExactly(first);
        assertThat(api().checkpoint(first)).isEmpty();
        completed(new Request.Prune(false), PublicEvent.PruneCompleted.class);
        assertThat(verify(second).sound()).isTrue();
        destroy(NET);
    }

    private static Maintenance.VerifyResult verify(String checkpoint) {
        return completed(new Request.Verify(checkpoint, null), PublicEvent.VerifyCompleted.class)
                .result();
    }

    private static List<Path> packs() {
        Path folder = lab().home().resolve("s3/holdfast/packs");
        try (Stream<Path> packs = Files.isDirectory(folder) ? Files.list(folder) : Stream.empty()) {
            return packs.toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
