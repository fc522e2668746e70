package io.holdfast.agent.qemu;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.ByteBuffer;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/** Addresses of direct buffers, and waiting that can be ended. */
final class NativeBuffers {
    private NativeBuffers() {}

    /** Address of a direct buffer's first byte. The buffer must stay reachable while the address is used. */
    static long address(ByteBuffer direct) {
        if (!direct.isDirect()) {
            throw new IllegalArgumentException("not a direct buffer");
        }
        return Pointer.wrap(Runtime.getSystemRuntime(), direct.duplicate().clear())
                .address();
    }

    /** Waits until there is something to read (or the end); false when woken by the eventfd. */
    static boolean awaitReadable(int fd, int wake) throws IOException {
        int[] fds = {fd, wake};
        int[] events = {Native.POLLIN, Native.POLLIN};
        int ignored = Native.poll(fds, events, -1);
        return events[1] == 0;
    }
}
