package io.holdfast.agent.nat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class NativeTest {
    @TempDir
    Path folder;

    @Test
    void failureIsThrownWithItsErrnoName() {
        assertThatThrownBy(() -> Native.connect(folder.resolve("nothing"), 0))
                .isInstanceOfSatisfying(NativeException.class, e -> {
                    assertThat(e.errno()).isEqualTo(Errno.ENOENT);
                    assertThat(e.errnoName()).isEqualTo("ENOENT");
                })
                .hasMessageContaining("ENOENT");
    }

    @Test
    void connectingToOneThatAcceptsNobodyTakesNoLongerThanAllowed() throws Exception {
        // Given a QEMU that hangs, say, and connections of those who have given up
        var address = UnixDomainSocketAddress.of(folder.resolve("socket"));
        try (var server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(address, 1);
            var waiting = new ArrayList<Integer>();
            try {
                // When
                assertThatThrownBy(() -> {
                            for (int i = 0; i < 100; i++) {
                                waiting.add(Native.connect(address.getPath(), 100));
                            }
                        })
                        // Then
                        .isInstanceOfSatisfying(NativeException.class, e -> assertThat(e.errno())
                                .isEqualTo(Errno.ETIMEDOUT));
            } finally {
                waiting.forEach(Native::close);
            }
        }
    }

    @Test
    void bytesWrittenToOneEndAreReadAtTheOther() throws Exception {
        // Given
        int[] pair = Native.socketpair();
        try {
            var buffer = ByteBuffer.allocateDirect(64);
            // When
            Native.write(pair[0], "hello".getBytes(StandardCharsets.US_ASCII), 1000);
            long n = Native.check(Native.lib().hf_read(pair[1], buffer, 64, 1000), "read");
            // Then
            byte[] got = new byte[(int) n];
            buffer.get(0, got);
            assertThat(new String(got, StandardCharsets.US_ASCII)).isEqualTo("hello");
            assertThatThrownBy(() -> Native.check(Native.lib().hf_read(pair[1], buffer, 64, 1), "read"))
                    .hasMessageContaining("ETIMEDOUT");
        } finally {
            Native.close(pair[0]);
            Native.close(pair[1]);
        }
    }

    @Test
    void startedProgramHasItsDescriptorsAndNothingElse() throws Exception {
        // Given
        int[] pipe = Native.pipe(0);
        var out = folder.resolve("out");
        int file = Native.open(out, 0x241, 0600);
        // When
        var started = Native.spawn(new Native.Spawn(
                Path.of("/bin/sh"),
                List.of("sh", "-c", "ls /proc/$$/fd; echo \"$A\"; pwd; echo there >&7; exit 3"),
                List.of("A=1 2", "PATH=/bin:/usr/bin"),
                folder,
                List.of(new Native.Inherit(pipe[1], 7)),
                -1,
                -1,
                -1,
                List.of(),
                file,
                -1));
        // Then
        assertThat(Native.pidfdWait(started.pidfd(), 10_000)).isTrue();
        assertThat(Native.pidfdReap(started.pidfd())).isEqualTo(3);
        assertThat(Native.pidfdSignal(started.pidfd(), 0)).isFalse();
        assertThat(Files.readString(out)).isEqualTo("0\n1\n2\n7\n1 2\n" + folder + "\n");
        var buffer = ByteBuffer.allocateDirect(64);
        assertThat(Native.lib().hf_read(pipe[0], buffer, 64, 1000)).isEqualTo(6);
        for (int fd : new int[] {pipe[0], pipe[1], file, started.pidfd()}) {
            Native.close(fd);
        }
    }

    @Test
    void missingProgramIsThrownByTheStart() {
        assertThatThrownBy(() -> Native.spawn(new Native.Spawn(
                        Path.of("/nowhere"), List.of("x"), List.of(), null, List.of(), -1, -1, -1, List.of(), -1, -1)))
                .isInstanceOfSatisfying(
                        NativeException.class, e -> assertThat(e.errno()).isEqualTo(Errno.ENOENT));
    }
}
