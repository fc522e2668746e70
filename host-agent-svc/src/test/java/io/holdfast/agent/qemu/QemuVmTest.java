package io.holdfast.agent.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.image.FileCloner;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.VmSpec;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class QemuVmTest {
    @TempDir
    Path folder;

    /** A QEMU that has no time for who connects first, and answers who comes then. */
    private static void answerTheSecond(ServerSocketChannel server, CompletableFuture<Void> firstHasGone) {
        try (SocketChannel first = server.accept()) {
            boolean gone = first.read(ByteBuffer.allocate(1)) < 0;
            assertThat(gone).isTrue();
            firstHasGone.complete(null);
            answer(server);
        } catch (IOException | RuntimeException | Error e) {
            firstHasGone.completeExceptionally(e);
        }
    }

    private static void answer(ServerSocketChannel server) throws IOException {
        try (SocketChannel second = server.accept()) {
            say(second, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}");
            BufferedReader commands = new BufferedReader(Channels.newReader(second, StandardCharsets.UTF_8));
            for (String line = commands.readLine(); line != null; line = commands.readLine()) {
                String id = line.replaceFirst(".*\"id\":\"([0-9]+)\".*", "$1");
                say(second, "{\"return\": {\"status\": \"running\"}, \"id\": \"" + id + "\"}");
            }
        }
    }

    private static void say(SocketChannel to, String line) throws IOException {
        ByteBuffer b = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
        while (b.hasRemaining()) {
            int ignored = to.write(b);
        }
    }

    @Test
    void givenAQemuThatGreetsOnlyTheSecondTimeWhenConnectedThenItsConnectionHasNotEnded() throws Exception {
        // Given
        var settings = QemuSettings.defaults(folder, List.of());
        var spec = new VmSpec(
                "web",
                1,
                "16MiB",
                Hugepages.off,
                "qemu64",
                "pc-q35-9.0",
                Accelerator.tcg,
                null,
                null,
                null,
                null,
                List.of(),
                List.of(),
                true);
        var vmRecord = new VmRecord(
                VmRecord.VERSION,
                "inst",
                spec,
                "",
                0,
                0,
                List.of(),
                List.of(),
                List.of(),
                new MachineFile.Qemu("9.2.0", "pc-q35-9.0", "qemu64", "tcg", false));
        var vm = new QemuVm(vmRecord, folder, -1, 0, settings, new StagePool(0), FileCloner.plain(), FaultPoints.OFF);
        var firstHasGone = new CompletableFuture<Void>();
        try (var server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(UnixDomainSocketAddress.of(folder.resolve(QemuCommand.QMP_SOCKET)));
            Thread.ofVirtual().start(() -> answerTheSecond(server, firstHasGone));
            // When
            vm.connect(Duration.ofSeconds(20));
            firstHasGone.get();
            // Then
            assertThat(vm.state().state()).isEqualTo("running");
            assertThat(vm.expectMigrationEnd()).isNotDone();
            assertThat(vm.failure("x", null).code()).isEqualTo(ErrorCode.QEMU_FAILED);
        }
    }
}
