/* Descriptors, files and clocks. */
#define _GNU_SOURCE
#include "fault.h"
#include "holdfast.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY(e) ({ __typeof__(e) r_; do r_ = (e); while (r_ < 0 && errno == EINTR); r_; })
#define CHECK(e) ({ __typeof__(e) c_ = RETRY(e); c_ < 0 ? -errno : c_; })

int hf_abi(void) { return HF_ABI; }

const char *hf_errno_name(int error) { return strerrorname_np(error); }

const char *hf_errno_text(int error) { return strerrordesc_np(error); }

int64_t hf_clock_micros(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t hf_monotonic_nanos(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int hf_open(const char *path, int flags, int mode) { return CHECK(open(path, flags | O_CLOEXEC, mode)); }

int hf_close(int fd) { return close(fd) < 0 && errno != EINTR ? -errno : 0; }

int hf_dup(int fd) { return CHECK(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

/* Waits until the deadline (monotonic ns, -1 none). 1: ready, or -errno. */
static int wait_for(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		struct timespec t, *limit = NULL;
		if (deadline >= 0) {
			int64_t left = deadline - hf_monotonic_nanos();
			if (left < 0)
				left = 0;
			t = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
			limit = &t;
		}
		int r = ppoll(&p, 1, limit, NULL);
		if (r > 0)
			return p.revents & POLLNVAL ? -EBADF : 1;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int64_t deadline_of(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : hf_monotonic_nanos() + (int64_t)timeout_ms * 1000000;
}

int hf_unix_connect(const char *path, int timeout_ms)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int64_t deadline = deadline_of(timeout_ms);
	if (strlen(path) >= sizeof a.sun_path) {
		/* Longer than an address can be: go through the folder's descriptor. */
		const char *slash = strrchr(path, '/');
		if (!slash || strlen(slash + 1) > 64)
			return -ENAMETOOLONG;
		char *folder = strndup(path, (size_t)(slash - path));
		if (!folder)
			return -ENOMEM;
		int at = CHECK(open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));
		free(folder);
		if (at < 0)
			return at;
		char shorter[100];
		char number[12];
		int i = 0, n = at;
		do
			number[i++] = (char)('0' + n % 10);
		while (n /= 10);
		strcpy(shorter, "/proc/self/fd/");
		size_t len = strlen(shorter);
		while (i)
			shorter[len++] = number[--i];
		shorter[len++] = '/';
		strcpy(shorter + len, slash + 1);
		int r = hf_unix_connect(shorter, timeout_ms);
		close(at);
		return r;
	}
	strcpy(a.sun_path, path);
	for (;;) {
		/* Not to wait in connect itself: who does not accept any more would keep us there for ever. */
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return -errno;
		if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && fcntl(fd, F_SETFL, 0) == 0)
			return fd;
		int e = errno;
		close(fd);
		if (e != ENOENT && e != ECONNREFUSED && e != EAGAIN && e != EINTR)
			return -e;
		if (deadline >= 0 && hf_monotonic_nanos() >= deadline)
			return timeout_ms == 0 ? -e : -ETIMEDOUT;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
}

int hf_socketpair(int fds[2]) { return CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)); }

int hf_pipe(int fds[2], int size)
{
	int fault = hf_fault_at(HF_AT_PIPE);
	if (fault < 0)
		return fault;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (size > 0 && fcntl(fds[1], F_SETPIPE_SZ, size) < 0) {
		int e = errno;
		close(fds[0]);
		close(fds[1]);
		return -e;
	}
	return 0;
}

int hf_pipe_size(int fd, int size) { return CHECK(fcntl(fd, F_SETPIPE_SZ, size)); }

int hf_eventfd(void) { return CHECK(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int hf_eventfd_signal(int fd) { return CHECK(eventfd_write(fd, 1)); }

long hf_eventfd_drain(int fd)
{
	eventfd_t v = 0;
	if (RETRY(eventfd_read(fd, &v)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	return (long)v;
}

long hf_read(int fd, void *buf, size_t len, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	for (;;) {
		if (timeout_ms >= 0) {
			int w = wait_for(fd, POLLIN, deadline);
			if (w < 0)
				return w;
		}
		ssize_t r = RETRY(read(fd, buf, len));
		if (r >= 0)
			return r;
		if (errno != EAGAIN)
			return -errno;
		if (timeout_ms < 0) {
			int w = wait_for(fd, POLLIN, -1);
			if (w < 0)
				return w;
		}
	}
}

long hf_read_now(int fd, void *buf, size_t len)
{
	int fault = hf_fault_at(HF_AT_HELD_READ);
	return fault < 0 ? fault : CHECK(read(fd, buf, len));
}

long hf_write(int fd, const void *buf, size_t len, int timeout_ms) { return hf_send_fd(fd, buf, len, -1, timeout_ms); }

static ssize_t send_some(int fd, const void *buf, size_t len, int with)
{
	if (with < 0) {
		ssize_t r = send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r >= 0 || errno != ENOTSOCK)
			return r;
		return write(fd, buf, len); /* a file or pipe; a blocking pipe may wait longer than asked */
	}
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec v = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.h), &with, sizeof with);
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

long hf_send_fd(int sock, const void *buf, size_t len, int with, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	const char *at = buf;
	size_t left = len;
	if (with >= 0 && len == 0)
		return -EINVAL;
	int fault = with >= 0 ? hf_fault_at(HF_AT_PASS_FD) : 0;
	if (fault < 0)
		return fault;
	while (left) {
		ssize_t r = RETRY(send_some(sock, at, left, with));
		if (r > 0) {
			at += r;
			left -= (size_t)r;
			with = -1;
		} else if (r < 0 && errno == EAGAIN) {
			int w = wait_for(sock, POLLOUT, deadline);
			if (w < 0)
				return w;
		} else {
			return r < 0 ? -errno : -EIO;
		}
	}
	return (long)len;
}

long hf_recv_fd(int sock, void *buf, size_t len, int *fd, int timeout_ms)
{
	int64_t deadline = deadline_of(timeout_ms);
	*fd = -1;
	int w = wait_for(sock, POLLIN, deadline);
	if (w < 0)
		return w;
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec v = {.iov_base = buf, .iov_len = len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
	ssize_t r = RETRY(recvmsg(sock, &m, MSG_CMSG_CLOEXEC));
	if (r < 0)
		return -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
	return r;
}

long hf_pread(int fd, void *buf, size_t len, int64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t r = RETRY(pread(fd, (char *)buf + done, len - done, offset + (int64_t)done));
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (long)done;
}

int hf_writeback(int fd)
{
	return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0 ? -errno : 0;
}

long hf_pwrite(int fd, const void *buf, size_t len, int64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t r = RETRY(pwrite(fd, (const char *)buf + done, len - done, offset + (int64_t)done));
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		done += (size_t)r;
	}
	return (long)done;
}

int hf_poll(const int *fds, int *events, int n, long timeout_us)
{
	struct pollfd room[64], *p = room;
	if (n < 0)
		return -EINVAL;
	if (n > 64 && !(p = calloc((size_t)n, sizeof *p)))
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = (short)events[i]};
	int64_t deadline = timeout_us < 0 ? -1 : hf_monotonic_nanos() + timeout_us * 1000;
	int r;
	for (;;) {
		struct timespec t, *limit = NULL;
		if (deadline >= 0) {
			int64_t left = deadline - hf_monotonic_nanos();
			if (left < 0)
				left = 0;
			t = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
			limit = &t;
		}
		r = ppoll(p, (nfds_t)n, limit, NULL);
		if (r >= 0 || errno != EINTR)
			break;
	}
	if (r < 0)
		r = -errno;
	else
		for (int i = 0; i < n; i++)
			events[i] = p[i].revents;
	if (p != room)
		free(p);
	return r;
}

int hf_reflink(int from, int to) { return CHECK(ioctl(to, FICLONE, from)); }

int64_t hf_copy_sparse(int from, int to)
{
	struct stat s;
	if (fstat(from, &s) < 0)
		return -errno;
	if (RETRY(ftruncate(to, s.st_size)) < 0)
		return -errno;
	int64_t copied = 0;
	off_t at = 0;
	char *buf = NULL;
	int64_t result = 0;
	while (at < s.st_size) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0) {
			if (errno == ENXIO)
				break;
			result = -errno;
			break;
		}
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0) {
			result = -errno;
			break;
		}
		off_t in = data, out = data;
		while (in < hole && !buf) {
			ssize_t r = RETRY(copy_file_range(from, &in, to, &out, (size_t)(hole - in), 0));
			if (r > 0) {
				copied += r;
			} else if (!(buf = malloc(1 << 20))) { /* not possible here: copy by hand */
				result = -ENOMEM;
				break;
			}
		}
		while (in < hole && buf) {
			size_t want = hole - in < 1 << 20 ? (size_t)(hole - in) : 1 << 20;
			long r = hf_pread(from, buf, want, in);
			if (r <= 0) {
				if (r < 0)
					result = r;
				break;
			}
			long w = hf_pwrite(to, buf, (size_t)r, in);
			if (w < 0) {
				result = w;
				break;
			}
			in += r;
			copied += r;
		}
		if (result < 0)
			break;
		at = hole;
	}
	free(buf);
	return result < 0 ? result : copied;
}

int hf_punch(int fd, int64_t offset, int64_t len)
{
	return CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len));
}

int hf_fsync(int fd) { return CHECK(fsync(fd)); }

int hf_ftruncate(int fd, int64_t size) { return CHECK(ftruncate(fd, size)); }
