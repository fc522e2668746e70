package io.holdfast.agent.nat;

import io.holdfast.nat.NativeFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * libholdfast with exceptions instead of negative results. Thread-safe. Descriptors are plain ints and belong to whoever got them:
 * close each once with {@link #close}. Timeouts are milliseconds, negative for ever, 0 does not wait; running out throws a
 * {@link NativeException} with {@link Errno#ETIMEDOUT}.
 */
public final class Native {
    private static final int HURRY = 3;
    /** For {@link #poll}: something to read, or the end. */
    public static final int POLLIN = 1;
    /** For {@link #poll}: room to write. */
    public static final int POLLOUT = 4;

    public static final int SIGTERM = 15;
    public static final int SIGKILL = 9;

    private static final String CONSOLE = "hf-console";
    private static final int CONSOLE_FROM = 3;
    private static final int BUSY_ATTEMPTS = 50;
    private static final long BUSY_NANOS = 10_000_000;

    private static volatile long clockOffset;

    private Native() {}

    private static final class Loaded {
        static final NativeLib LIB = NativeFiles.load(NativeLib.class, NativeLib::hf_abi);
    }

    /** The raw functions. The first call loads the library. */
    public static NativeLib lib() {
        return Loaded.LIB;
    }

    /** Gives the result back, or throws what it says. */
    public static int check(int result, String what) throws NativeException {
        if (result < 0) {
            throw new NativeException(what, -result);
        }
        return result;
    }

    /** Gives the result back, or throws what it says. */
    public static long check(long result, String what) throws NativeException {
        if (result < 0) {
            throw new NativeException(what, (int) -result);
        }
        return result;
    }

    // Descriptors

    /** Closes a descriptor; -1 is ignored, and so are errors. */
    public static void close(int fd) {
        if (fd >= 0) {
            int ignored = lib().hf_close(fd);
        }
    }

    /** Opens a file; flags as in open(2), close-on-exec is added. */
    public static int open(Path path, int flags, int mode) throws NativeException {
        return check(lib().hf_open(path.toString(), flags, mode), "open " + path);
    }

    public static int dup(int fd) throws NativeException {
        return check(lib().hf_dup(fd), "dup");
    }

    /** Connects to a UNIX stream socket; waits for it to appear or to listen until the timeout. */
    public static int connect(Path path, int timeoutMillis) throws NativeException {
        return check(lib().hf_unix_connect(path.toString(), timeoutMillis), "connect " + path);
    }

    /** Two connected UNIX stream sockets. */
    public static int[] socketpair() throws NativeException {
        int[] fds = new int[2];
        check(lib().hf_socketpair(fds), "socketpair");
        return fds;
    }

    /** A pipe: [0] reads, [1] writes; size in bytes of its buffer or 0. */
    public static int[] pipe(int size) throws NativeException {
        int[] fds = new int[2];
        check(lib().hf_pipe(fds, size), "pipe");
        return fds;
    }

    /**
     * Puts the calling platform thread before all ordinary ones (SCHED_RR): for threads that do little and that a paused VM waits for.
     * Without the right to it (not root, no CAP_SYS_NICE) nothing changes.
     */
    public static void hurry() {
        int ignored = lib().hf_thread_realtime(0, HURRY, 0);
    }

    /**
     * Puts a thread of another process, and the threads that it makes from then on, before all ordinary ones, behind those that
     * {@link #hurry}. Without the right to it, or when the thread is gone, nothing changes.
     *
     * @param rank 1 or 2, which comes first; 0 puts it back among the ordinary ones
     */
    public static void urgent(int tid, int rank) {
        int ignored = lib().hf_thread_realtime(tid, rank, 1);
    }

    /**
     * Reads a byte of another process at {@code from}, {@code from + step} and so on before {@code to}; nothing is done with them. Needs the right
     * to trace it.
     */
    public static void touch(int pid, long from, long to, long step) throws NativeException {
        check(lib().hf_touch(pid, from, to, step), "read memory of process " + pid);
    }

    /**
     * Puts a thread among the ordinary ones with a nice value. Without the right to it, or when the thread is gone, nothing changes.
     *
     * @param tid of any process, or 0: the calling platform thread
     * @param nice -20 (much processor time) to 19
     */
    public static void nice(int tid, int nice) {
        int ignored = lib().hf_thread_realtime(tid, 0, 0) + lib().hf_thread_nice(tid, nice);
    }

    /** An eventfd to wake a {@link #poll}. */
    public static int eventfd() throws NativeException {
        return check(lib().hf_eventfd(), "eventfd");
    }

    public static void signal(int eventfd) throws NativeException {
        check(lib().hf_eventfd_signal(eventfd), "eventfd write");
    }

    /** Resets an eventfd; what had been signalled. */
    public static long drain(int eventfd) throws NativeException {
        return check(lib().hf_eventfd_drain(eventfd), "eventfd read");
    }

    /** Reads at most length bytes to an address, once there are some. 0: the end. */
    public static long read(int fd, long address, long length, int timeoutMillis) throws NativeException {
        return check(lib().hf_read(fd, address, length, timeoutMillis), "read");
    }

    /** Writes all. */
    public static void write(int fd, long address, long length, int timeoutMillis) throws NativeException {
        check(lib().hf_write(fd, address, length, timeoutMillis), "write");
    }

    /** Writes all. */
    public static void write(int fd, byte[] bytes, int timeoutMillis) throws NativeException {
        check(lib().hf_write(fd, bytes, bytes.length, timeoutMillis), "write");
    }

    /** Writes all, and passes a descriptor with the first byte (SCM_RIGHTS). */
    public static void sendWithFd(int socket, byte[] bytes, int fd, int timeoutMillis) throws NativeException {
        check(lib().hf_send_fd(socket, bytes, bytes.length, fd, timeoutMillis), "sendmsg with a descriptor");
    }

    /**
     * Waits for descriptors. events: in what to wait for, out what happened.
     *
     * @return how many are ready, 0 when the time is over
     */
    public static int poll(int[] fds, int[] events, long timeoutMicros) throws NativeException {
        return check(lib().hf_poll(fds, events, fds.length, timeoutMicros), "poll");
    }

    // Processes

    /**
     * A program to start.
     *
     * @param program the file to execute
     * @param arguments argv, beginning with the name
     * @param environment NAME=VALUE
     * @param folder working folder
     * @param inherit descriptors: number here, number there (3 or more); nothing else is inherited
     * @param netns descriptor of its network namespace, or -1
     * @param uid user or -1, gid group or -1
     * @param groups further groups, used only with a uid
     * @param out descriptor for stdout, err for stderr; -1 for /dev/null
     */
    public record Spawn(
            Path program,
            List<String> arguments,
            List<String> environment,
            Path folder,
            List<Inherit> inherit,
            int netns,
            int uid,
            int gid,
            List<Integer> groups,
            int out,
            int err) {
        public Spawn {
            arguments = List.copyOf(arguments);
            environment = List.copyOf(environment);
            inherit = List.copyOf(inherit);
            groups = List.copyOf(groups);
        }
    }

    /** A descriptor that a started program gets. */
    public record Inherit(int fd, int target) {}

    /** A started program. The pidfd is the caller's to close. */
    public record Started(int pid, int pidfd) {}

    /** Starts a program in a session of its own; it outlives us. What fails up to and including exec is thrown. */
    public static Started spawn(Spawn s) throws NativeException {
        int[] fds = new int[Math.max(1, 2 * s.inherit().size())];
        for (int i = 0; i < s.inherit().size(); i++) {
            fds[2 * i] = s.inherit().get(i).fd();
            fds[2 * i + 1] = s.inherit().get(i).target();
        }
        int[] groups = new int[Math.max(1, s.groups().size())];
        for (int i = 0; i < s.groups().size(); i++) {
            groups[i] = s.groups().get(i);
        }
        int[] result = new int[2];
        check(
                lib().hf_spawn(
                                s.program().toString(),
                                pack(s.arguments()),
                                s.arguments().size(),
                                pack(s.environment()),
                                s.environment().size(),
                                s.folder() == null ? null : s.folder().toString(),
                                fds,
                                s.inherit().size(),
                                s.netns(),
                                s.uid(),
                                s.gid(),
                                groups,
                                s.groups().size(),
                                s.out(),
                                s.err(),
                                result),
                "start " + s.program());
        return new Started(result[0], result[1]);
    }

    /**
     * Starts the process that takes what a console says from a pipe to a file (native/console); it ends with the pipe's last writer, and
     * outlives us.
     *
     * @param name the VM's, for who lists processes
     * @param from the pipe's end to read from; stays the caller's
     * @param to the file, opened to append; stays the caller's
     * @param netns descriptor of its network namespace, or -1
     */
    public static Started spawnConsole(String name, int from, int to, int netns, int uid, int gid) throws IOException {
        return NativeFiles.unpacked(CONSOLE, "rwx--x--x", program -> {
            var spawn = new Spawn(
                    program,
                    List.of(CONSOLE, name),
                    List.of(),
                    Path.of("/"),
                    List.of(new Inherit(from, CONSOLE_FROM)),
                    netns,
                    uid,
                    gid,
                    List.of(),
                    to,
                    -1);
            for (int attempt = 1; ; attempt++) {
                try {
                    return spawn(spawn);
                } catch (NativeException e) {
                    // another thread's child had our descriptor of the file, to write, when it was forked
                    if (e.errno() != Errno.ETXTBSY || attempt == BUSY_ATTEMPTS) {
                        throw e;
                    }
                    LockSupport.parkNanos(BUSY_NANOS);
                }
            }
        });
    }

    private static byte[] pack(List<String> strings) {
        var out = new ByteArrayOutputStream();
        for (String s : strings) {
            if (s.indexOf('\0') >= 0) {
                throw new IllegalArgumentException("a NUL character in an argument");
            }
            out.writeBytes(s.getBytes(StandardCharsets.UTF_8));
            out.write(0);
        }
        out.write(0);
        return out.toByteArray();
    }

    public static int pidfdOpen(long pid) throws NativeException {
        return check(lib().hf_pidfd_open(Math.toIntExact(pid)), "pidfd_open " + pid);
    }

    /** Sends a signal; false when the process is gone. */
    public static boolean pidfdSignal(int pidfd, int signal) throws NativeException {
        int r = lib().hf_pidfd_signal(pidfd, signal);
        if (r == -Errno.ESRCH) {
            return false;
        }
        check(r, "pidfd_send_signal");
        return true;
    }

    /** A copy here of a descriptor in that process. */
    public static int pidfdGetFd(int pidfd, int fd) throws NativeException {
        return check(lib().hf_pidfd_getfd(pidfd, fd), "pidfd_getfd " + fd);
    }

    /** Waits for the end of a process. False when the time is over. Does not reap. */
    public static boolean pidfdWait(int pidfd, int timeoutMillis) throws NativeException {
        int r = lib().hf_pidfd_wait(pidfd, timeoutMillis);
        if (r == -Errno.ETIMEDOUT) {
            return false;
        }
        check(r, "poll pidfd");
        return true;
    }

    /**
     * Reaps an ended process if it is a child of ours.
     *
     * @return its exit code, 128 + signal if a signal ended it, -1 when it is no child of ours or has not ended
     */
    public static int pidfdReap(int pidfd) throws NativeException {
        int[] status = new int[1];
        int r = lib().hf_pidfd_reap(pidfd, status);
        if (r == -Errno.ECHILD || r == 0) {
            return -1;
        }
        check(r, "waitid");
        return status[0];
    }

    // Files

    /** Makes {@code to} a clone of {@code from}. False when the file system cannot. */
    public static boolean reflink(int from, int to) throws NativeException {
        int r = lib().hf_reflink(from, to);
        if (r == -Errno.EOPNOTSUPP || r == -Errno.EXDEV || r == -Errno.EINVAL || r == -25) { // 25: ENOTTY
            return false;
        }
        check(r, "reflink");
        return true;
    }

    /** Copies data, leaves holes. Bytes copied. */
    public static long copySparse(int from, int to) throws NativeException {
        return check(lib().hf_copy_sparse(from, to), "copy");
    }

    public static void punch(int fd, long offset, long length) throws NativeException {
        check(lib().hf_punch(fd, offset, length), "punch a hole");
    }

    public static void fsync(int fd) throws NativeException {
        check(lib().hf_fsync(fd), "fsync");
    }

    // Time

    /** Microseconds since the epoch, by this host's clock. */
    public static long micros() {
        return lib().hf_clock_micros() + clockOffset;
    }

    /** For tests: from now on {@link #micros} is off by so many microseconds, as the clock of a host can be. */
    public static void clockOffset(long micros) {
        clockOffset = micros;
    }

    // Faults, for tests

    /**
     * Arms a place of the native library that makes something go wrong the next time that it is passed, once.
     *
     * @param point number as in fault.h
     * @param action 0: the process ends by SIGKILL, 1: the call fails, 2: it waits
     * @param millis how long it waits
     */
    public static void fault(int point, int action, long millis) throws NativeException {
        check(lib().hf_fault(point, action, millis), "fault " + point);
    }
}
