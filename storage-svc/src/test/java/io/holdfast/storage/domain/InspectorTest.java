package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmArchive;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class InspectorTest {
    @Test
    void everyKindOfObjectIsToldByItself() throws StorageException {
        PackFormat.Builder builder = new PackFormat.Builder(1 << 16, 4096, Vault.NONE);
        byte[] chunk = {1, 2, 3};
        builder.add(ChunkId.of(chunk), chunk, 0, 3, FormatsTest.CODEC);
        PackFormat.Table table = builder.seal();
        byte[] pack = Arrays.copyOf(builder.bytes(), builder.length());
        byte[] index = IndexFormat.encode(List.of(table));
        byte[] vm = new VmManifest("cp-1", "a", 4096, List.of(new VmManifest.File("f", 3, null, List.of()))).encode();
        byte[] config = new RepositoryConfig(1, "r", Instant.EPOCH, 65536, "sha256", null, null).encode();
        byte[] checkpoint = Manifests.encode(new CheckpointManifest(
                1,
                "cp-1",
                "net",
                null,
                Instant.EPOCH,
                new InstanceLayout("net", null, List.of(), Map.of()),
                List.of(new VmArchive("a", "p/vms/cp-1/a.hfvm", ChunkId.of(vm).hex())),
                List.of(),
                new CutFigures(List.of())));

        assertThat(Inspector.inspect("p/packs/" + table.id(), pack, true, Vault.NONE)
                        .path("entries")
                        .size())
                .isEqualTo(2);
        assertThat(Inspector.inspect("x", index, false, Vault.NONE).path("kind").asText())
                .isEqualTo("index");
        assertThat(Inspector.inspect("x", vm, true, Vault.NONE)
                        .path("files")
                        .path(0)
                        .path("name")
                        .asText())
                .isEqualTo("f");
        assertThat(Inspector.inspect("config", config, false, Vault.NONE)
                        .path("kind")
                        .asText())
                .isEqualTo("config");
        assertThat(Inspector.inspect("p/checkpoints/cp-1.json", checkpoint, false, Vault.NONE)
                        .path("kind")
                        .asText())
                .isEqualTo("checkpoint-manifest");
        assertThat(Inspector.inspect("copied.json", checkpoint, false, Vault.NONE)
                        .path("kind")
                        .asText())
                .isEqualTo("checkpoint-manifest");
        assertThatThrownBy(() -> Inspector.inspect("p/packs/" + table.id(), index, false, Vault.NONE))
                .hasMessageContaining("its digest is not its name");
        assertThatThrownBy(() -> Inspector.inspect("x", "hello".getBytes(StandardCharsets.UTF_8), false, Vault.NONE))
                .hasMessageContaining("object x");
        assertThatThrownBy(() -> Inspector.inspect("x", new byte[0], false, Vault.NONE))
                .hasMessageContaining("object x");
    }

    private static final byte[] HOLD =
            new Hold(1, "cp-1", "evidence", Instant.EPOCH, Instant.EPOCH.plusSeconds(1)).encode();
    private static final byte[] MARK =
            new Mark(1, List.of(ChunkId.of(new byte[1]).hex()), List.of("vms/cp-1/a.hfvm")).encode();
    private static final byte[] NOTE = "2026-01-01T00:00:00Z".getBytes(StandardCharsets.UTF_8);

    private static String kind(String name, byte[] data) throws StorageException {
        return Inspector.inspect(name, data, false, Vault.NONE).path("kind").asText();
    }

    @Test
    void notesOfHoldsRemovalsAndGarbageCollectionAreToldByTheirFolder_orWhereTheyWereCopiedByTheirContent()
            throws StorageException {
        assertThat(kind("p/holds/cp-1.json", HOLD)).isEqualTo("hold");
        assertThat(kind("holds/cp-1.json", HOLD)).isEqualTo("hold");
        assertThat(kind("copied", HOLD)).isEqualTo("hold");
        assertThat(kind("p/gc/mark-1", MARK)).isEqualTo("gc-mark");
        assertThat(kind("p/gc/sweep-1", MARK)).isEqualTo("gc-sweep");
        assertThat(kind("copied", MARK)).isEqualTo("gc-mark");
        assertThat(kind("p/gc/run-1", NOTE)).isEqualTo("gc-run");
        assertThat(kind("p/gone/cp-1", NOTE)).isEqualTo("gone");
        assertThat(kind(
                        "p/proposals/r",
                        new RepositoryConfig(1, "r", Instant.EPOCH, 65536, "sha256", null, null).encode()))
                .isEqualTo("config");
    }

    @Test
    void whatIsNotWhatItsFolderIsForIsRefused() throws StorageException {
        byte[] index = IndexFormat.encode(List.of());
        byte[] broken = "{\"format\": 1, \"heldAt\": 7}".getBytes(StandardCharsets.UTF_8);
        Map<String, byte[]> wrong = Map.of(
                "vms/cp-1/a.hfvm", index,
                "index/x", HOLD,
                "holds/cp-2.json", HOLD,
                "holds/cp-1.json", broken,
                "checkpoints/cp-1.json", HOLD,
                "config", MARK,
                "gc/mark-1", HOLD,
                "gc/run-1", new byte[100],
                "gone/cp-1", HOLD,
                "x", broken);
        wrong.forEach((name, data) -> assertThatThrownBy(() -> Inspector.inspect(name, data, false, Vault.NONE))
                .as(name)
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("object " + name));
    }

    @Test
    void limitIsThatOfTheKindThatTheKeySays() {
        assertThat(Inspector.limit("p/vms/cp-1/a.hfvm")).isGreaterThan(Limits.MAX_VM_MANIFEST);
        assertThat(Inspector.limit("copied")).isGreaterThan(Limits.MAX_VM_MANIFEST);
        assertThat(Inspector.limit("p/holds/cp-1.json")).isLessThan(1 << 20);
    }
}
