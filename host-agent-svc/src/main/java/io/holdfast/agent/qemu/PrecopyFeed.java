package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.StreamComposer;
import io.holdfast.agent.image.StreamException;
import io.holdfast.agent.nat.Native;
import io.holdfast.schemas.event.ErrorCode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jboss.logging.Logger;

/** Sends an image as the stream of an ordinary migration, over a socket whose other end QEMU gets by {@code getfd}. Stateless. */
final class PrecopyFeed implements RestartFeed {
    private static final Logger LOG = Logger.getLogger(PrecopyFeed.class);
    private static final String FD_NAME = "hf-incoming";
    private static final int STALL_MILLIS = 30_000;

    private final Duration limit;

    PrecopyFeed(Duration limit) {
        this.limit = limit;
    }

    @Override
    public void feed(QemuVm vm, ImageFolder image) throws AgentException {
        long began = System.nanoTime();
        long bytes;
        CompletableFuture<String> end = vm.expectMigrationEnd();
        try {
            vm.migrationEvents();
            int[] pair = Native.socketpair();
            try {
                try {
                    vm.qmp().passFd(pair[1], FD_NAME, vm.settings().commandLimit());
                } finally {
                    Native.close(pair[1]);
                }
                vm.qmp()
                        .execute(
                                "migrate-incoming",
                                QmpClient.arguments()
                                        .put("uri", "fd:" + FD_NAME)
                                        .put("exit-on-error", false),
                                vm.settings().commandLimit());
                bytes = new StreamComposer(image).writeTo(channel(pair[0]));
                String status = QmpClient.await(end, limit, "the loading of the image");
                if (!status.equals("completed")) {
                    throw failed(vm, null);
                }
            } finally {
                Native.close(pair[0]);
            }
            vm.awaitStatus("paused", vm.settings().commandLimit());
        } catch (StreamException e) {
            throw new AgentException(
                    ErrorCode.REPOSITORY_CORRUPT,
                    "image in " + image.folder() + ": " + e.getMessage(),
                    "pull the checkpoint again from the repository",
                    e);
        } catch (IOException e) {
            throw failed(vm, e);
        }
        long micros = (System.nanoTime() - began) / 1000;
        LOG.infof("event=loaded vm=%s checkpoint=%s bytes=%d micros=%d", vm.name(), image.checkpoint(), bytes, micros);
    }

    private static AgentException failed(QemuVm vm, IOException e) {
        return vm.failure(
                "loading the image of " + vm.name() + " failed" + (e == null ? "" : ": " + e.getMessage())
                        + vm.migrationError(),
                e);
    }

    private static WritableByteChannel channel(int socket) {
        return new WritableByteChannel() {
            private final ByteBuffer copy = ByteBuffer.allocateDirect(1 << 16);
            private final long copyAddress = NativeBuffers.address(copy);

            @Override
            public int write(ByteBuffer from) throws IOException {
                int n = from.remaining();
                if (from.isDirect()) {
                    Native.write(socket, NativeBuffers.address(from) + from.position(), n, STALL_MILLIS);
                    from.position(from.limit());
                    return n;
                }
                n = Math.min(n, copy.capacity());
                copy.clear().put(0, from, from.position(), n);
                Native.write(socket, copyAddress, n, STALL_MILLIS);
                from.position(from.position() + n);
                return n;
            }

            @Override
            public boolean isOpen() {
                return true;
            }

            @Override
            public void close() {}
        };
    }
}
