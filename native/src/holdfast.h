/*
 * libholdfast: what the JVM cannot do by itself. Linux 6.6 or newer, x86-64 and other little-endian machines.
 *
 * Rules for every function: a result of 0 or more is success, a negative one is -errno. Nothing is kept between calls,
 * every function may be called from any thread. Descriptors are made close-on-exec. Functions that take a
 * network namespace descriptor (netns, -1 for the caller's own) enter it and come back within the call; the calling thread
 * never stays in another namespace (if it cannot come back the process is aborted). EINTR is handled inside.
 * Timeouts: negative waits for ever, 0 does not wait; running out gives -ETIMEDOUT.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H
#include <stddef.h>
#include <stdint.h>

#define HF_API __attribute__((visibility("default")))
#define HF_ABI 1

HF_API int hf_abi(void);
HF_API const char *hf_errno_name(int error); /* such as ENOENT; NULL if unknown */
HF_API const char *hf_errno_text(int error);

/* -- descriptors ------------------------------------------------------------------------------------------- */
HF_API int hf_open(const char *path, int flags, int mode);
HF_API int hf_close(int fd);
HF_API int hf_dup(int fd);
HF_API int hf_unix_connect(const char *path, int timeout_ms);
HF_API int hf_socketpair(int fds[2]);            /* stream; fds[0], fds[1] */
HF_API int hf_pipe(int fds[2], int size);        /* fds[0] reads; size of the pipe's buffer, 0 leaves it */
HF_API int hf_pipe_size(int fd, int size);       /* the size it has now, at least as asked for */
HF_API int hf_eventfd(void);                     /* non-blocking counter */
HF_API int hf_eventfd_signal(int fd);
HF_API long hf_eventfd_drain(int fd);            /* what had been signalled, 0 if nothing */
/* One read of at most len bytes once readable: 0 is the end. Works on blocking and non-blocking descriptors. */
HF_API long hf_read(int fd, void *buf, size_t len, int timeout_ms);
/* One read without waiting, from a non-blocking descriptor: -EAGAIN when there is nothing. */
HF_API long hf_read_now(int fd, void *buf, size_t len);
/* Writes all of it, or fails. */
HF_API long hf_write(int fd, const void *buf, size_t len, int timeout_ms);
HF_API long hf_pread(int fd, void *buf, size_t len, int64_t offset);   /* all up to the file's end */
HF_API int hf_writeback(int fd); /* begins to write the file's dirty pages to the disk, does not wait for it */
HF_API long hf_pwrite(int fd, const void *buf, size_t len, int64_t offset); /* all */
/* poll(2) in microseconds. events[i] in: POLLIN 1, POLLOUT 4; out: what happened. Result: how many are ready, 0 at timeout. */
HF_API int hf_poll(const int *fds, int *events, int n, long timeout_us);
/* Sends all of the bytes, the descriptor going with the first (SCM_RIGHTS). */
HF_API long hf_send_fd(int sock, const void *buf, size_t len, int fd, int timeout_ms);
/* Receives bytes and a descriptor (-1 if none came) into *fd. */
HF_API long hf_recv_fd(int sock, void *buf, size_t len, int *fd, int timeout_ms);

/* -- processes --------------------------------------------------------------------------------------------- */
/*
 * Starts a program in a session of its own, its signals at their defaults, its umask 077, no new privileges.
 * argv, envp: argc and envc strings one behind the other, each with its NUL; argv[0] names it, path is the file to execute.
 * fds: nfds pairs (descriptor here, number there); 0 is /dev/null, 1 and 2 are out_fd and err_fd (-1: /dev/null);
 * nothing else is inherited. netns, cwd (NULL: /), uid/gid (-1: unchanged; groups only used with a uid).
 * Failures up to and including exec come back as -errno. result[0] = pid, result[1] = pidfd.
 */
HF_API int hf_spawn(const char *path, const char *argv, int argc, const char *envp, int envc, const char *cwd,
                    const int *fds, int nfds, int netns, int uid, int gid, const int *groups, int ngroups,
                    int out_fd, int err_fd, int result[2]);
HF_API int hf_pidfd_open(int pid);
HF_API int hf_pidfd_signal(int pidfd, int sig);  /* sig 0 asks only whether it is there: -ESRCH */
HF_API int hf_pidfd_getfd(int pidfd, int fd);
HF_API int hf_pidfd_wait(int pidfd, int timeout_ms); /* 0: it has ended (it may still be a zombie) */
/* Reaps an ended child: 1 and its exit code, or 128 + signal, in *status; 0 if it runs on; -ECHILD if it is no child of ours. */
HF_API int hf_pidfd_reap(int pidfd, int *status);

/*
 * A thread of any process by its id, or 0 for the calling one: SCHED_RR with that priority (1 to 99), or 0 for the ordinary policy;
 * inherit: threads that it makes from then on have it too.
 */
HF_API int hf_thread_realtime(int tid, int priority, int inherit);

/* Reads a byte of another process at from, from + step, ... before to (process_vm_readv(2)); 0, or -errno at the first that cannot be read. */
HF_API int hf_touch(int pid, uint64_t from, uint64_t to, uint64_t step);
/* The nice value, -20 to 19, of a thread of any process by its id, or of the calling one: 0. */
HF_API int hf_thread_nice(int tid, int nice);

/* -- pages under write protection -------------------------------------------------------------------------------- */
/* The userfaultfd of another process, a descriptor of our own to it. -ENOENT: it has none; -EEXIST: more than one. */
HF_API int hf_uffd_of(int pid, int pidfd);
/* A piece of the process's memory and the size of its pages, which is a power of two: all of them are read and released as wholes. */
struct hf_wp_block {
	uint64_t address, bytes, page;
};
/*
 * Waits until a thread of the process wants to write to a protected page, reads the page (with neighbours, where pages have 4 KiB) into
 * room, takes its protection off and lets the thread go on. What is read is of the time of the protection: a page that its owner
 * has released in the meantime is not given. pagemap: /proc/PID/pagemap. result: which block, offset in it, bytes.
 * again_ms: so often those who wait are made to ask again, because only one who listens hears of each; 0: never. One VM for each thread.
 * -ECANCELED: woken by the eventfd; -ENOSPC: the page is larger than room (its thread tries again: call again with more); -EFAULT: a page
 * of no block; other errors end the matter, too: the owner of the userfaultfd then serves who waits.
 */
HF_API int hf_wp_keep(int uffd, int wake, int pid, int pagemap, const struct hf_wp_block *blocks, int n, void *room,
                      size_t room_bytes, int again_ms, uint64_t result[3]);

/* -- network ----------------------------------------------------------------------------------------------- */
HF_API int hf_netns_open(const char *name);      /* /run/netns/NAME */
HF_API int hf_sysctl(int netns, const char *name, const char *value); /* name with slashes, such as net/ipv6/... */
/*
 * Makes a TAP (no packet information, virtio-net header of 12 bytes), non-blocking. It is gone with its last descriptor.
 * offload: TUN_F_ bits or -1 to leave them to QEMU.
 */
HF_API int hf_tap_create(int netns, const char *name, int offload);
HF_API int hf_tap_header(int fd);               /* bytes of virtio-net header before each frame, as QEMU set it */
HF_API int hf_ifindex(int netns, const char *name);
HF_API int hf_rtnl_open(int netns);              /* a route netlink socket that stays in the namespace */
HF_API int hf_link_counters(int rtnl, int ifindex, uint64_t out[2]); /* tx_packets, tx_dropped */
/* An AF_PACKET socket bound to an interface. protocol 0: only sends. vnet: frames begin with a 10-byte virtio header. */
HF_API int hf_packet_open(int netns, int ifindex, int protocol, int vnet, uint32_t mark);
HF_API long hf_packet_send(int fd, const void *frame, size_t len);   /* -ENOBUFS: the device dropped it */
/* Gives a frame as a hold TAP gives it (12-byte header) to a socket opened with vnet. -ENOBUFS: the ring was full. */
HF_API long hf_inject(int fd, const void *frame, size_t len);

/* -- the gate ---------------------------------------------------------------------------------------------- */
#define HF_BYPASS_MARK 0x5EED /* skb mark of frames that the gate lets through while closed */
#define HF_COOKIE_TYPE 0x88B5 /* IEEE 802 local experimental EtherType 1 */
enum { HF_OPEN = 0, HF_CLOSED = 1, HF_OPENING = 2 };

/* What the BPF program and we share: the value of a mapped array map with one element. */
struct hf_gate {
	uint64_t state;           /* HF_OPEN, HF_CLOSED, HF_OPENING; written by us only */
	uint64_t given;           /* held frames that are given back (or lost at a full hold TAP); written by us only */
	uint64_t entered;         /* data frames that came, marked ones too; added before state is read */
	uint64_t injected;        /* of these, marked ones: they always pass */
	uint64_t passed;          /* unmarked data frames let through */
	uint64_t held;            /* data frames diverted to the hold TAP */
	uint64_t cookies;         /* cookies that came; never let through */
	uint64_t cookies_held;    /* of these, diverted to the hold TAP */
	uint64_t cookies_dropped; /* of these, dropped: the gate was open, or of the former nonce */
	uint64_t nonce_set;       /* 0: no frame is a cookie; 1: nonce counts; 2: the former one too */
	uint8_t nonce[16];        /* frames of HF_COOKIE_TYPE whose payload begins with this are cookies */
	uint8_t former[16];       /* the nonce before it: late repeats of the cut before, always dropped */
};

/*
 * Loads the program with a map of its own and attaches it to the TAP's TCX egress hook. result: map descriptor, link
 * descriptor. The gate's first state is the given one. It goes away with the link's descriptor.
 */
HF_API int hf_gate_attach(int netns, int tap_ifindex, int hold_ifindex, int state, int result[2]);
HF_API int hf_gate_map(int map_fd, struct hf_gate **out);  /* out: address */
HF_API int hf_gate_unmap(struct hf_gate *gate);
HF_API int hf_gate_set(struct hf_gate *gate, int state);   /* sequentially consistent store */
HF_API int hf_gate_given(struct hf_gate *gate, uint64_t given);
HF_API int hf_gate_nonce(struct hf_gate *gate, const uint8_t *nonce); /* the one before becomes the former; not while closed */
/*
 * Reads state, given, entered, injected, passed, held, cookies, cookies_held, cookies_dropped in that order of the array, the
 * memory being read results first and arrivals last: entered - injected - passed - held = 0 then proves that at one moment
 * no frame was undecided.
 */
HF_API int hf_gate_read(const struct hf_gate *gate, uint64_t out[9]);
/*
 * Reads at most max frames from the hold TAP and gives each to the injection socket, cookies (of gate's nonce) excepted.
 * While the TAP's ring is full it tries again for up to patience_us, then the frame is lost. result: data frames
 * read, cookies read, sends refused at a full ring, frames lost of these, frames too large for the TAP's MTU (lost, and
 * not counted by the program nor by the TAP).
 */
HF_API int hf_gate_give(struct hf_gate *gate, int hold_fd, int out_fd, int max, long patience_us, uint64_t result[5]);

/* -- files ------------------------------------------------------------------------------------------------- */
HF_API int hf_reflink(int from, int to);         /* FICLONE: -EOPNOTSUPP, -EXDEV, -EINVAL where it cannot be */
HF_API int64_t hf_copy_sparse(int from, int to); /* data only, holes stay holes; result: bytes copied; to gets from's size */
HF_API int hf_punch(int fd, int64_t offset, int64_t len);
HF_API int hf_fsync(int fd);
HF_API int hf_ftruncate(int fd, int64_t size);

/* -- SHA-256 ----------------------------------------------------------------------------------------------- */
HF_API int hf_sha256_two_able(void); /* 1 where the processor can, else 0 */
/*
 * Goes on with two digests by so many blocks of 64 bytes of each one's message, in little more than the time of one. states: eight
 * words of the first, then of the second, in the processor's order of bytes. Only where the processor can: elsewhere SIGILL or -ENOSYS.
 */
HF_API int hf_sha256_two(uint32_t *states, const uint8_t *a, long a_offset, const uint8_t *b, long b_offset, int blocks);

/* -- faults, for tests ---------------------------------------------------------------------------------------- */
enum { HF_KILL = 0, HF_FAIL = 1, HF_DELAY = 2 };
/*
 * Arms one place of fault.h (0: none any more); one at a time, for the whole process. The first call that passes it ends the
 * process by SIGKILL, fails with -EIO, or waits so many milliseconds; then it is forgotten. Nothing arms one by itself.
 */
HF_API int hf_fault(int point, int action, int64_t millis);

/* -- time -------------------------------------------------------------------------------------------------- */
HF_API int64_t hf_clock_micros(void);            /* CLOCK_REALTIME since the epoch */
HF_API int64_t hf_monotonic_nanos(void);
#endif
