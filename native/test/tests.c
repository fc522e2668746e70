/* Tests of libholdfast. What needs root or a device and cannot run says NOT TESTED. */
#define _GNU_SOURCE
#include "fault.h"
#include "holdfast.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures, checks;
static const char *current;

#define EXPECT(e) \
	do { \
		checks++; \
		if (!(e)) { \
			failures++; \
			fprintf(stderr, "FAILED %s: line %d: %s\n", current, __LINE__, #e); \
		} \
	} while (0)

static char folder[] = "/tmp/hft-n-XXXXXX";

static const char *path(const char *name)
{
	static char p[200];
	snprintf(p, sizeof p, "%s/%s", folder, name);
	return p;
}

static void descriptors(void)
{
	int s[2];
	char b[64] = "";
	EXPECT(hf_socketpair(s) == 0);
	EXPECT(hf_write(s[0], "abc", 3, 100) == 3);
	EXPECT(hf_read(s[1], b, sizeof b, 100) == 3 && memcmp(b, "abc", 3) == 0);
	EXPECT(hf_read(s[1], b, sizeof b, 1) == -ETIMEDOUT);
	int e = hf_eventfd(), got = -1;
	EXPECT(hf_send_fd(s[0], "x", 1, e, 100) == 1);
	EXPECT(hf_recv_fd(s[1], b, sizeof b, &got, 100) == 1 && got >= 0);
	EXPECT(hf_eventfd_signal(got) == 0);
	EXPECT(hf_eventfd_drain(e) == 1);
	EXPECT(hf_eventfd_drain(e) == 0);
	int fds[2] = {e, s[1]}, events[2] = {1, 1};
	EXPECT(hf_poll(fds, events, 2, 0) == 0);
	hf_write(s[0], "y", 1, 100);
	events[0] = events[1] = 1;
	EXPECT(hf_poll(fds, events, 2, 100000) == 1 && events[0] == 0 && events[1] == 1);
	hf_close(s[0]);
	EXPECT(hf_read(s[1], b, sizeof b, 100) == 1);
	EXPECT(hf_read(s[1], b, sizeof b, 100) == 0);
	EXPECT(hf_write(s[1], "z", 1, 100) == -EPIPE);
	EXPECT(hf_unix_connect(path("none"), 0) == -ENOENT);
	EXPECT(strcmp(hf_errno_name(ENOENT), "ENOENT") == 0);
	hf_close(s[1]);
	hf_close(e);
	hf_close(got);
}

static void files(void)
{
	char b[4096];
	int from = hf_open(path("from"), O_RDWR | O_CREAT, 0600);
	int to = hf_open(path("to"), O_RDWR | O_CREAT, 0600);
	memset(b, 'x', sizeof b);
	EXPECT(hf_ftruncate(from, 8 << 20) == 0);
	EXPECT(hf_writeback(from) == 0 && hf_writeback(-1) == -EBADF);
	EXPECT(hf_pwrite(from, b, sizeof b, 4 << 20) == sizeof b);
	int64_t copied = hf_copy_sparse(from, to);
	EXPECT(copied >= (int64_t)sizeof b && copied < 4 << 20);
	memset(b, 0, sizeof b);
	EXPECT(hf_pread(to, b, sizeof b, 4 << 20) == sizeof b && b[0] == 'x' && b[4095] == 'x');
	EXPECT(hf_pread(to, b, sizeof b, 0) == sizeof b && b[0] == 0);
	EXPECT(hf_pread(to, b, sizeof b, 8 << 20) == 0);
	struct stat s;
	fstat(to, &s);
	EXPECT(s.st_size == 8 << 20 && s.st_blocks < 8192);
	int r = hf_punch(to, 4 << 20, 4096);
	EXPECT(r == 0 || r == -EOPNOTSUPP);
	r = hf_reflink(from, to);
	EXPECT(r == 0 || r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL || r == -ENOTTY);
	if (r < 0)
		printf("NOT TESTED: reflink, this file system has none (%s)\n", hf_errno_name(-r));
	EXPECT(hf_fsync(to) == 0);
	hf_close(from);
	hf_close(to);
}

static void processes(void)
{
	int p[2], r[2], status = -1;
	char b[200] = "";
	EXPECT(hf_pipe(p, 4096) == 0);
	EXPECT(hf_pipe_size(p[0], 1 << 16) == 1 << 16);
	EXPECT(hf_pipe_size(-1, 4096) == -EBADF);
	int rt = hf_thread_realtime(0, 1, 0);
	EXPECT(rt == 0 || rt == -EPERM);
	EXPECT(rt != 0 || (sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) == SCHED_RR);
	EXPECT(rt != 0 || (sched_getscheduler(0) & SCHED_RESET_ON_FORK));
	EXPECT(hf_thread_realtime(getpid(), 1, 1) == rt);
	EXPECT(rt != 0 || sched_getscheduler(0) == SCHED_RR);
	EXPECT(hf_thread_realtime(0, 0, 0) == 0 && (sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) == SCHED_OTHER);
	EXPECT(hf_thread_realtime(0, 1000, 0) == -EINVAL);
	static char touched[3 << 12];
	uint64_t at = (uint64_t)(uintptr_t)touched;
	EXPECT(hf_touch(getpid(), at, at + sizeof touched, 4096) == 0);
	EXPECT(hf_touch(getpid(), at, at, 4096) == 0);
	EXPECT(hf_touch(getpid(), 0, 4096, 4096) == -EFAULT);
	EXPECT(hf_touch(getpid(), at, at + 1, 0) == -EINVAL);
	EXPECT(hf_thread_nice(0, 1) == 0 && getpriority(PRIO_PROCESS, 0) == 1);
	EXPECT(hf_thread_nice(getpid(), 2) == 0 && getpriority(PRIO_PROCESS, 0) == 2);
	EXPECT(hf_thread_nice(-1, 0) < 0);
	int least = hf_thread_nice(0, 0); /* -EACCES without the right to it */
	EXPECT(least == 0 || least == -EACCES || least == -EPERM);
	/* "sh" "-c" "..."; no pipe after ls: the shell would hold its ends open for a moment */
	static const char argv[] = "sh\0-c\0umask; echo $A; ls /proc/$$/fd; kill -9 $$\0";
	int fds[] = {p[0], 9};
	EXPECT(hf_spawn("/bin/sh", argv, 3, "A=b c\0PATH=/bin:/usr/bin\0", 2, folder, fds, 1, -1, -1, -1, NULL, 0, p[1], -1,
			r) == 0);
	EXPECT(hf_pidfd_wait(r[1], 10000) == 0);
	EXPECT(hf_pidfd_reap(r[1], &status) == 1 && status == 128 + SIGKILL);
	EXPECT(hf_pidfd_reap(r[1], &status) == -ECHILD);
	EXPECT(hf_pidfd_signal(r[1], 0) == -ESRCH);
	EXPECT(hf_read(p[0], b, sizeof b - 1, 1000) > 0 && strcmp(b, "0077\nb c\n0\n1\n2\n9\n") == 0);
	hf_close(r[1]);
	EXPECT(hf_spawn("/nowhere", "x\0", 1, "", 0, NULL, fds, 0, -1, -1, -1, NULL, 0, -1, -1, r) == -ENOENT);
	int twice[] = {p[0], 9, p[1], 9};
	EXPECT(hf_spawn("/bin/true", "x\0", 1, "", 0, NULL, twice, 2, -1, -1, -1, NULL, 0, -1, -1, r) == -EINVAL);
	EXPECT(hf_spawn("/bin/sleep", "sleep\0001000\0", 2, "", 0, NULL, fds, 1, -1, -1, -1, NULL, 0, -1, -1, r) == 0);
	EXPECT(hf_pidfd_wait(r[1], 1) == -ETIMEDOUT);
	EXPECT(hf_pidfd_reap(r[1], &status) == 0);
	int got = hf_pidfd_getfd(r[1], 9);
	if (got == -EPERM)
		printf("NOT TESTED: pidfd_getfd, not permitted here\n");
	else
		EXPECT(got >= 0);
	if (got >= 0)
		hf_close(got);
	EXPECT(hf_pidfd_signal(r[1], SIGTERM) == 0);
	EXPECT(hf_pidfd_wait(r[1], 10000) == 0);
	EXPECT(hf_pidfd_reap(r[1], &status) == 1 && status == 128 + SIGTERM);
	hf_close(r[1]);
	if (geteuid() == 0) {
		int groups[] = {65533};
		EXPECT(hf_spawn("/bin/sh", "sh\0-c\0id -u; id -G\0", 3, "PATH=/bin:/usr/bin\0", 1, NULL, fds, 0, -1, 65534, 65534,
				groups, 1, p[1], -1, r) == 0);
		EXPECT(hf_pidfd_wait(r[1], 10000) == 0);
		hf_pidfd_reap(r[1], &status);
		memset(b, 0, sizeof b);
		EXPECT(hf_read(p[0], b, sizeof b - 1, 1000) > 0 && strcmp(b, "65534\n65534 65533\n") == 0);
		hf_close(r[1]);
	} else {
		printf("NOT TESTED: dropping privileges, needs root\n");
	}
	hf_close(p[0]);
	hf_close(p[1]);
}

static void make_frame(unsigned char *f, int type, const void *payload, size_t n)
{
	memset(f, 0, 12 + 60);
	memset(f + 12, 0xff, 6);
	f[18] = 2;
	f[24] = (unsigned char)(type >> 8);
	f[25] = (unsigned char)type;
	memcpy(f + 26, payload, n);
}

/* Two TAPs with hold TAP and gate in a namespace of its own (never named: gone with the process). */
static void gate(void)
{
	if (geteuid() != 0 || access("/dev/net/tun", W_OK) != 0) {
		printf("NOT TESTED: TAPs and gates, need root and /dev/net/tun\n");
		return;
	}
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	EXPECT(unshare(CLONE_NEWNET) == 0);
	int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	EXPECT(setns(home, CLONE_NEWNET) == 0);
	EXPECT(hf_sysctl(ns, "net/ipv6/conf/default/disable_ipv6", "1") <= 0);
	int tap = hf_tap_create(ns, "t0", -1), hold = hf_tap_create(ns, "h0", 0xf);
	EXPECT(tap >= 0 && hold >= 0);
	EXPECT(hf_tap_header(tap) == 12);
	EXPECT(hf_ifindex(-1, "t0") == -ENODEV);
	int ti = hf_ifindex(ns, "t0"), hi = hf_ifindex(ns, "h0");
	EXPECT(ti > 0 && hi > 0);
	/* ip(8) sets them up; it finds the namespace as this process's descriptor. */
	char cmd[200];
	snprintf(cmd, sizeof cmd,
		 "nsenter --net=/proc/%d/fd/%d sh -c 'ip link set t0 up; ip link set h0 up'", getpid(), ns);
	EXPECT(system(cmd) == 0);
	int rtnl = hf_rtnl_open(ns), wire = hf_packet_open(ns, ti, 0, 1, 0), out = hf_packet_open(ns, ti, 0, 1, HF_BYPASS_MARK);
	EXPECT(rtnl >= 0 && wire >= 0 && out >= 0);
	int at[2];
	int r = hf_gate_attach(ns, ti, hi, HF_OPEN, at);
	if (r < 0) {
		printf("NOT TESTED: the gate's program, this kernel refuses it (%s); needs 6.6 or newer\n", hf_errno_name(-r));
		return;
	}
	struct hf_gate *g;
	EXPECT(hf_gate_map(at[0], &g) == 0);
	unsigned char nonce[2][16], f[12 + 60], b[70000];
	memset(nonce[0], 7, 16);
	memset(nonce[1], 8, 16);
	uint64_t n[9], before[2], after[2], gave[5];
	hf_link_counters(rtnl, ti, before);

	make_frame(f, 0x1234, "a", 1);
	EXPECT(hf_inject(wire, f, sizeof f) > 0);
	EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f && b[26] == 'a');
	hf_link_counters(rtnl, ti, after);
	EXPECT(after[0] - before[0] == 1 && after[1] == before[1]);

	/* Cookies are data until a nonce is set, then dropped, the former ones too. */
	make_frame(f, HF_COOKIE_TYPE, nonce[0], 16);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f);
	hf_gate_nonce(g, nonce[0]);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read_now(tap, b, sizeof b) == -EAGAIN);
	hf_gate_nonce(g, nonce[1]);
	hf_inject(wire, f, sizeof f);
	make_frame(f, HF_COOKIE_TYPE, nonce[1], 16);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read_now(tap, b, sizeof b) == -EAGAIN);
	make_frame(f, HF_COOKIE_TYPE, "guest's own", 11);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f);
	hf_gate_read(g, n);
	EXPECT(n[0] == HF_OPEN && n[2] == 3 && n[4] == 3 && n[5] == 0 && n[6] == 3 && n[8] == 3);

	/* Closed: held, but for marked ones; cookies held apart. */
	hf_gate_set(g, HF_CLOSED);
	make_frame(f, 0x1234, "b", 1);
	hf_inject(wire, f, sizeof f);
	make_frame(f, HF_COOKIE_TYPE, nonce[1], 16);
	hf_inject(wire, f, sizeof f);
	make_frame(f, 0x1234, "c", 1);
	hf_inject(out, f, sizeof f);
	EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f && b[26] == 'c');
	hf_gate_read(g, n);
	EXPECT(n[2] == 5 && n[3] == 1 && n[4] == 3 && n[5] == 1 && n[6] == 4 && n[7] == 1);

	/* Opening: diverted until what is held is given back, then let through. */
	hf_gate_set(g, HF_OPENING);
	make_frame(f, 0x1234, "d", 1);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read_now(tap, b, sizeof b) == -EAGAIN);
	EXPECT(hf_gate_give(g, hold, out, 100, 0, gave) == 0);
	EXPECT(gave[0] == 2 && gave[1] == 1 && gave[2] == 0 && gave[3] == 0);
	make_frame(f, 0x1234, "e", 1);
	hf_inject(wire, f, sizeof f);
	for (int i = 0; i < 3; i++)
		EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f && b[26] == "bde"[i]);

	/* A frame with segmentation offload is held whole and given back whole. */
	static unsigned char big[12 + 14 + 20 + 20 + 4000];
	make_frame(big, 0x0800, "", 0);
	big[0] = 1; /* needs a checksum: from 34, at 16 behind it */
	big[1] = 1; /* TCP over IPv4 */
	big[2] = 54;
	big[4] = 0xb4;
	big[5] = 5; /* segments of 1460 */
	big[6] = 34;
	big[8] = 16;
	unsigned char *ip = big + 26;
	ip[0] = 0x45;
	ip[2] = (20 + 20 + 4000) >> 8;
	ip[3] = (20 + 20 + 4000) & 255;
	ip[8] = 64;
	ip[9] = 6;
	ip[20 + 12] = 0x50;
	hf_gate_set(g, HF_CLOSED);
	EXPECT(hf_inject(wire, big, sizeof big) > 0);
	EXPECT(hf_read(hold, b, sizeof b, 1000) == sizeof big);
	EXPECT(b[1] == 1 && b[4] == 0xb4 && b[5] == 5);
	hf_gate_read(g, n);
	EXPECT(n[5] == 3);
	/* The TAP takes such frames once its reader says so, as virtio-net does. */
	EXPECT(hf_inject(out, b, sizeof big) > 0);
	EXPECT(ioctl(tap, TUNSETOFFLOAD, 0xf) == 0);
	EXPECT(hf_inject(out, big, sizeof big) > 0);
	long whole = 0;
	while ((whole = hf_read_now(tap, b, sizeof b)) > 0 && whole != (long)sizeof big)
		continue;
	EXPECT(whole == (long)sizeof big && b[1] == 1);
	EXPECT(hf_inject(out, big, sizeof big) > 0);
	int pieces = 0;
	long len = 0, got;
	while ((got = hf_read_now(tap, b, sizeof b)) > 0) {
		pieces++;
		len += got;
	}
	EXPECT(pieces >= 1 && len >= (long)sizeof big);

	/* The gate opens by itself when its link goes. */
	hf_close(at[1]);
	make_frame(f, 0x1234, "f", 1);
	hf_inject(wire, f, sizeof f);
	EXPECT(hf_read(tap, b, sizeof b, 1000) == sizeof f && b[26] == 'f');
	hf_gate_unmap(g);
	int all[] = {at[0], rtnl, wire, out, tap, hold, ns, home};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		hf_close(all[i]);
}

/* A piece of memory under write protection, as a background snapshot makes it; the thread that writes to it. */
enum { WP_PAGES = 64, WP_BYTES = WP_PAGES * 4096 };

static int protected_memory(char **memory)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	*memory = mmap(NULL, WP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || *memory == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api) < 0)
		return -1;
	for (int i = 0; i < WP_PAGES; i++)
		memset(*memory + (size_t)i * 4096, i + 1, 4096);
	struct uffdio_register reg = {.range = {(uintptr_t)*memory, WP_BYTES}, .mode = UFFDIO_REGISTER_MODE_WP};
	struct uffdio_writeprotect wp = {.range = reg.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
	return ioctl(uffd, UFFDIO_REGISTER, &reg) < 0 || ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) < 0 ? -1 : uffd;
}

static void *write_there(void *at)
{
	*(volatile char *)at = 99;
	return NULL;
}

struct keeping {
	int uffd, wake, pagemap, result;
	struct hf_wp_block block;
	char *room;
	uint64_t r[3];
};

static void *keep_one(void *of)
{
	struct keeping *k = of;
	k->result = hf_wp_keep(k->uffd, k->wake, getpid(), k->pagemap, &k->block, 1, k->room, WP_BYTES, 0, k->r);
	return NULL;
}

static void write_protection(void)
{
	char *memory, *room = malloc(WP_BYTES);
	int pidfd = hf_pidfd_open(getpid());
	EXPECT(hf_uffd_of(getpid(), pidfd) == -ENOENT);
	int owner = protected_memory(&memory);
	if (owner < 0) {
		printf("NOT TESTED: write protection by userfaultfd: %s\n", strerror(errno));
		return;
	}
	int uffd = hf_uffd_of(getpid(), pidfd);
	EXPECT(uffd >= 0);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), wake = hf_eventfd();
	struct hf_wp_block blocks[2] = {{4096, 4096, 4096}, {(uintptr_t)memory, WP_BYTES, 4096}};
	uint64_t r[3] = {9, 9, 9};
	pthread_t writer, other;

	/* The page and its neighbours are kept as they were, and the writer goes on. */
	pthread_create(&writer, NULL, write_there, memory + 5 * 4096 + 7);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[0] == 1 && r[1] == 5 * 4096 && r[2] == 16 * 4096);
	for (int i = 0; i < 16; i++)
		EXPECT(room[i * 4096] == i + 6 && room[i * 4096 + 7] == i + 6);
	EXPECT(memory[5 * 4096 + 7] == 99);
	memory[6 * 4096] = 98; /* a neighbour is released as well: nobody waits */

	/* Neighbours end where a page is not protected any more: page 4's are all kept already. */
	pthread_create(&writer, NULL, write_there, memory + 4 * 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 4 * 4096 && r[2] == 4096 && room[0] == 5);

	/* And where the room or the block ends. */
	pthread_create(&writer, NULL, write_there, memory + 30 * 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, 2 * 4096 + 9, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 30 * 4096 && r[2] == 2 * 4096);
	pthread_create(&writer, NULL, write_there, memory + 62 * 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 62 * 4096 && r[2] == 2 * 4096);

	/* Its owner was first: the page is newer than the protection by the time that it is read, and is not given. The writer goes on. */
	char *page = memory + 40 * 4096;
	pthread_create(&writer, NULL, write_there, page);
	struct pollfd there = {.fd = uffd, .events = POLLIN};
	EXPECT(poll(&there, 1, 5000) == 1);
	struct uffdio_writeprotect off = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE};
	EXPECT(ioctl(owner, UFFDIO_WRITEPROTECT, &off) == 0);
	page[100] = 77;
	struct keeping k = {uffd, wake, pagemap, 0, blocks[1], room, {9, 9, 9}};
	pthread_create(&other, NULL, keep_one, &k);
	pthread_join(writer, NULL);
	hf_eventfd_signal(wake);
	pthread_join(other, NULL);
	EXPECT(k.result == -ECANCELED && k.r[0] == 9);
	EXPECT(page[0] == 99 && page[100] == 77);
	hf_eventfd_drain(wake);

	/* A page of no block. */
	pthread_create(&writer, NULL, write_there, memory + 50 * 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 1, room, WP_BYTES, 0, r) == -EFAULT);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0); /* it has tried again */
	pthread_join(writer, NULL);
	EXPECT(r[1] == 50 * 4096 && room[0] == 51);

	/* Too little room is told apart from that, and the page comes again. */
	pthread_create(&writer, NULL, write_there, memory + 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, 4095, 0, r) == -ENOSPC);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 4096 && room[0] == 2);

	/* The owner heard of it and has no time for it. (Woken at once, so that the first look is over.) */
	hf_eventfd_signal(wake);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 200, r) == -ECANCELED);
	hf_eventfd_drain(wake);
	pthread_create(&writer, NULL, write_there, memory);
	there.fd = owner;
	struct uffd_msg heard;
	EXPECT(poll(&there, 1, 5000) == 1 && read(owner, &heard, sizeof heard) == sizeof heard);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 200, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 0 && room[0] == 1);

	/* Whatever fails, nobody is left waiting: a pagemap that cannot be read. */
	pthread_create(&writer, NULL, write_there, memory + 25 * 4096);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), -1, blocks, 2, room, WP_BYTES, 0, r) == -EBADF);
	EXPECT(hf_wp_keep(uffd, wake, getpid(), pagemap, blocks, 2, room, WP_BYTES, 0, r) == 0);
	pthread_join(writer, NULL);
	EXPECT(r[1] == 25 * 4096 && room[0] == 26);

	hf_close(uffd);
	hf_close(owner);
	hf_close(pagemap);
	hf_close(wake);
	hf_close(pidfd);
	munmap(memory, WP_BYTES);
	free(room);
}

static void faults(void)
{
	int p[2];
	EXPECT(hf_fault(HF_AT_PIPE - 1, HF_FAIL, 0) == -EINVAL);
	EXPECT(hf_fault(HF_AT_LAST + 1, HF_FAIL, 0) == -EINVAL);
	EXPECT(hf_fault(HF_AT_PIPE, 3, 0) == -EINVAL);
	EXPECT(hf_fault(HF_AT_PIPE, HF_FAIL, 0) == 0);
	EXPECT(hf_pipe(p, 0) == -EIO);
	EXPECT(hf_pipe(p, 0) == 0); /* once */
	hf_close(p[0]);
	hf_close(p[1]);
	EXPECT(hf_fault(HF_AT_PIPE, HF_DELAY, 30) == 0);
	int64_t begin = hf_monotonic_nanos();
	EXPECT(hf_pipe(p, 0) == 0 && hf_monotonic_nanos() - begin >= 30000000);
	hf_close(p[0]);
	hf_close(p[1]);
	EXPECT(hf_fault(HF_AT_PIPE, HF_KILL, 0) == 0);
	pid_t child = fork();
	if (child == 0) {
		hf_pipe(p, 0);
		_exit(0);
	}
	int status;
	EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT(hf_fault(0, HF_FAIL, 0) == 0); /* taken back */
	EXPECT(hf_pipe(p, 0) == 0);
	hf_close(p[0]);
	hf_close(p[1]);
}

/* What FIPS 180-4 begins a digest with, and the digests of its examples. */
static void sha256(void)
{
	static const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	static const uint32_t abc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
	static const uint32_t empty[8] = {0xe3b0c442, 0x98fc1c14, 0x9afbf4c8, 0x996fb924, 0x27ae41e4, 0x649b934c, 0xa495991b, 0x7852b855};
	static const uint32_t million[8] = {0xcdc76e5c, 0x9914fb92, 0x81a1c7e2, 0x84d73e67, 0xf1809a48, 0xa497200e, 0x046d39cc, 0xc7112cd0};
	static uint8_t a[1000000 + 64];
	uint32_t states[16];
	if (!hf_sha256_two_able()) {
		fprintf(stderr, "NOT TESTED: two digests at once, this processor has no SHA extensions\n");
		return;
	}
	uint8_t blocks[129] = "?abc\x80"; /* each at an odd address */
	blocks[64] = 24;
	blocks[65] = 0x80;
	memcpy(states, begin, 32);
	memcpy(states + 8, begin, 32);
	EXPECT(hf_sha256_two(states, blocks, 1, blocks, 65, 1) == 0);
	EXPECT(memcmp(states, abc, 32) == 0 && memcmp(states + 8, empty, 32) == 0);
	memset(a, 'a', 1000000); /* a multiple of 64 */
	uint8_t end[64] = {0x80};
	end[61] = 0x7a, end[62] = 0x12, end[63] = 0; /* 8,000,000 bits */
	memcpy(states, begin, 32);
	memcpy(states + 8, begin, 32);
	EXPECT(hf_sha256_two(states, a, 0, a, 64, 0) == 0 && memcmp(states, begin, 32) == 0);
	EXPECT(hf_sha256_two(states, a, 0, a, 64, 15624) == 0);
	EXPECT(hf_sha256_two(states, a, 0, a, 64, 1) == 0 && hf_sha256_two(states, end, 0, a, 0, 1) == 0);
	EXPECT(memcmp(states, million, 32) == 0 && memcmp(states + 8, million, 32) != 0);
}

int main(void)
{
	struct {
		const char *name;
		void (*run)(void);
	} tests[] = {{"descriptors", descriptors}, {"files", files}, {"processes", processes}, {"gate", gate}, {"write protection", write_protection}, {"faults", faults}, {"sha256", sha256}};
	alarm(120); /* a call that never returns fails the build */
	if (!mkdtemp(folder))
		return 2;
	for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
		current = tests[i].name;
		tests[i].run();
	}
	unlink(path("from"));
	unlink(path("to"));
	rmdir(folder);
	printf("libholdfast: %d checks, %d failed\n", checks, failures);
	return failures != 0;
}
