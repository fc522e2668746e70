package io.holdfast.agent.nat;

import java.nio.ByteBuffer;
import jnr.ffi.annotations.In;
import jnr.ffi.annotations.Out;

/**
 * The functions of libholdfast as they are: a result of 0 or more is success, a negative one is -errno. What each does is said in
 * {@code native/src/holdfast.h}. Parameters named address are raw memory addresses, timeouts are milliseconds unless named
 * otherwise (negative: for ever, 0: do not wait). Use {@link Native} where it has the function: it throws.
 */
@SuppressWarnings("checkstyle:MethodName")
public interface NativeLib {
    int hf_abi();

    String hf_errno_name(int errno);

    String hf_errno_text(int errno);

    int hf_open(String path, int flags, int mode);

    int hf_close(int fd);

    int hf_dup(int fd);

    int hf_unix_connect(String path, int timeoutMillis);

    int hf_socketpair(@Out int[] fds);

    int hf_pipe(@Out int[] fds, int size);

    int hf_pipe_size(int fd, int size);

    int hf_thread_realtime(int tid, int priority, int inherit);

    int hf_touch(int pid, long from, long to, long step);

    int hf_thread_nice(int tid, int nice);

    int hf_uffd_of(int pid, int pidfd);

    /** blocks: three words each, struct hf_wp_block. */
    int hf_wp_keep(
            int uffd,
            int wake,
            int pid,
            int pagemap,
            @In long[] blocks,
            int n,
            long room,
            long roomBytes,
            int againMillis,
            @Out long[] result);

    int hf_eventfd();

    int hf_eventfd_signal(int fd);

    long hf_eventfd_drain(int fd);

    long hf_read(int fd, long address, long length, int timeoutMillis);

    long hf_read(int fd, @Out ByteBuffer direct, long length, int timeoutMillis);

    long hf_read_now(int fd, long address, long length);

    long hf_write(int fd, long address, long length, int timeoutMillis);

    long hf_write(int fd, @In ByteBuffer direct, long length, int timeoutMillis);

    long hf_write(int fd, @In byte[] bytes, long length, int timeoutMillis);

    int hf_writeback(int fd);

    long hf_pread(int fd, long address, long length, long offset);

    long hf_pwrite(int fd, long address, long length, long offset);

    int hf_poll(@In int[] fds, @In @Out int[] events, int count, long timeoutMicros);

    long hf_send_fd(int socket, @In byte[] bytes, long length, int fd, int timeoutMillis);

    long hf_recv_fd(int socket, @Out byte[] bytes, long length, @Out int[] fd, int timeoutMillis);

    int hf_spawn(
            String path,
            @In byte[] argv,
            int argc,
            @In byte[] envp,
            int envc,
            String folder,
            @In int[] fds,
            int pairs,
            int netns,
            int uid,
            int gid,
            @In int[] groups,
            int groupCount,
            int out,
            int err,
            @Out int[] pidAndPidfd);

    int hf_pidfd_open(int pid);

    int hf_pidfd_signal(int pidfd, int signal);

    int hf_pidfd_getfd(int pidfd, int fd);

    int hf_pidfd_wait(int pidfd, int timeoutMillis);

    int hf_pidfd_reap(int pidfd, @Out int[] status);

    int hf_netns_open(String name);

    int hf_sysctl(int netns, String name, String value);

    int hf_tap_create(int netns, String name, int offload);

    int hf_tap_header(int fd);

    int hf_ifindex(int netns, String name);

    int hf_rtnl_open(int netns);

    int hf_link_counters(int rtnl, int ifindex, @Out long[] packetsAndDropped);

    int hf_packet_open(int netns, int ifindex, int protocol, int vnetHeader, int mark);

    long hf_packet_send(int fd, @In byte[] frame, long length);

    long hf_inject(int fd, @In byte[] frame, long length);

    long hf_inject(int fd, long address, long length);

    int hf_gate_attach(int netns, int tapIndex, int holdIndex, int state, @Out int[] mapAndLink);

    int hf_gate_map(int mapFd, @Out long[] address);

    int hf_gate_unmap(long address);

    int hf_gate_set(long address, int state);

    int hf_gate_given(long address, long given);

    int hf_gate_nonce(long address, @In byte[] nonce);

    int hf_gate_read(long address, @Out long[] nine);

    int hf_gate_give(long address, int holdFd, int outFd, int max, long patienceMicros, @Out long[] five);

    int hf_reflink(int from, int to);

    long hf_copy_sparse(int from, int to);

    int hf_punch(int fd, long offset, long length);

    int hf_fsync(int fd);

    int hf_ftruncate(int fd, long size);

    int hf_fault(int point, int action, long millis);

    long hf_clock_micros();

    long hf_monotonic_nanos();
}
