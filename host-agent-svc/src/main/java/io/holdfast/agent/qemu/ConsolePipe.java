package io.holdfast.agent.qemu;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.file.Path;
import org.jboss.logging.Logger;

/**
 * The way of a VM's serial console to its file: a pipe, and a process that writes the file. With the file in its own hands QEMU stands in
 * write(2), and the guest with it, for as long as the file system's journal does: tens of milliseconds while an image is forced to the same
 * disk. A pipe that is full holds what the guest prints, as a slow serial line does; QEMU goes on.
 *
 * <p>Not thread-safe.
 */
final class ConsolePipe implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger(ConsolePipe.class);
    private static final int PIPE = 1 << 20;
    /** O_WRONLY, O_APPEND, O_CREAT; O_NOFOLLOW and O_NONBLOCK, because the VM's user could put a link or a FIFO there. */
    private static final int APPEND = 1 | 02000 | 0100 | 0400000 | 04000;

    private static final int UNTIL_IT_ENDS = -1;

    private final int writeEnd;

    private ConsolePipe(int writeEnd) {
        this.writeEnd = writeEnd;
    }

    /** Starts the process, in the VM's network namespace (a descriptor, or -1). It ends when the pipe has no writer any more: neither QEMU nor this, see {@link #close}. */
    static ConsolePipe open(String vm, Path file, int netns, VmUser user) throws IOException {
        int[] pipe = Native.pipe(PIPE);
        int out = -1;
        boolean done = false;
        try {
            out = Native.open(file, APPEND, 0640);
            Native.Started process = Native.spawnConsole(vm, pipe[0], out, netns, user.uid(), user.gid());
            Thread.ofPlatform().daemon().name("console-" + vm).start(() -> reap(vm, process));
            done = true;
            return new ConsolePipe(pipe[1]);
        } finally {
            Native.close(out);
            Native.close(pipe[0]);
            if (!done) {
                Native.close(pipe[1]);
            }
        }
    }

    private static void reap(String vm, Native.Started process) {
        try {
            boolean ended = Native.pidfdWait(process.pidfd(), UNTIL_IT_ENDS);
            int status = Native.pidfdReap(process.pidfd());
            LOG.debugf("event=console-ended vm=%s pid=%d ended=%b status=%d", vm, process.pid(), ended, status);
        } catch (IOException e) {
            LOG.warnf("event=console-not-reaped vm=%s pid=%d reason=\"%s\"", vm, process.pid(), e.getMessage());
        } finally {
            Native.close(process.pidfd());
        }
    }

    /** What QEMU is to write to. */
    int fd() {
        return writeEnd;
    }

    /** Closes our writer: QEMU has its own. */
    @Override
    public void close() {
        Native.close(writeEnd);
    }
}
