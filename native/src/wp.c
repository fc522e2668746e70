/* Pages that a background snapshot has write-protected: kept before they are written. See docs/adr/0011. */
#define _GNU_SOURCE
#include "holdfast.h"
#include <dirent.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, MOST_BESIDE = 16 };

/* /proc/PID/pagemap: the page is write-protected by userfaultfd (Documentation/admin-guide/mm/pagemap.rst). */
#define PROTECTED (UINT64_C(1) << 57)

int hf_uffd_of(int pid, int pidfd)
{
	char folder[64];
	(void)snprintf(folder, sizeof folder, "/proc/%d/fd", pid);
	DIR *dir = opendir(folder);
	if (!dir)
		return -errno;
	int found = -ENOENT;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char target[32];
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, "anon_inode:[userfaultfd]") != 0)
			continue;
		if (found != -ENOENT) {
			found = -EEXIST;
			break;
		}
		found = atoi(e->d_name);
	}
	closedir(dir);
	return found < 0 ? found : hf_pidfd_getfd(pidfd, found);
}

/* How many pages from an address on are protected now. 0 or more, or -errno. */
static int still_protected(int pagemap, uint64_t address, int pages)
{
	uint64_t entries[MOST_BESIDE];
	ssize_t n = pread(pagemap, entries, sizeof *entries * (size_t)pages, (off_t)(address / PAGE * sizeof *entries));
	if (n < 0)
		return -errno;
	int count = 0;
	while (count < (int)(n / (ssize_t)sizeof *entries) && (entries[count] & PROTECTED))
		count++;
	return count;
}

/* Who waits tries again, and the owner of the userfaultfd may be the one to hear of it. */
static int try_again(int uffd, uint64_t address, int error)
{
	struct uffdio_range page = {.start = address / PAGE * PAGE, .len = PAGE};
	(void)ioctl(uffd, UFFDIO_WAKE, &page);
	return error;
}

static int release(int uffd, uint64_t address, uint64_t bytes)
{
	struct uffdio_writeprotect p = {.range = {.start = address, .len = bytes}, .mode = 0}; /* wakes who waits, too */
	while (ioctl(uffd, UFFDIO_WRITEPROTECT, &p) < 0) {
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

/* Whoever waits tries again: the owner of the userfaultfd may have heard of it and have no time. */
static void all_try_again(int uffd, const struct hf_wp_block *blocks, int n)
{
	for (int i = 0; i < n; i++) {
		struct uffdio_range all = {.start = blocks[i].address, .len = blocks[i].bytes};
		(void)ioctl(uffd, UFFDIO_WAKE, &all);
	}
}

int hf_wp_keep(int uffd, int wake, int pid, int pagemap, const struct hf_wp_block *blocks, int n, void *room, size_t room_bytes,
	       int again_ms, uint64_t result[3])
{
	static _Thread_local int64_t last; /* when all tried again */
	for (;;) {
		int64_t now = again_ms > 0 ? hf_monotonic_nanos() : 0;
		if (again_ms > 0 && now - last >= again_ms * INT64_C(1000000)) {
			all_try_again(uffd, blocks, n);
			last = now;
		}
		struct pollfd fds[2] = {{.fd = uffd, .events = POLLIN}, {.fd = wake, .events = POLLIN}};
		if (poll(fds, 2, again_ms > 0 ? again_ms : -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (fds[1].revents)
			return -ECANCELED;
		if (fds[0].revents & ~POLLIN)
			return -EPIPE;
		struct uffd_msg msg;
		ssize_t r = read(uffd, &msg, sizeof msg); /* non-blocking, as its owner made it: the owner may have been first */
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (r != (ssize_t)sizeof msg)
			return r < 0 ? -errno : -EPIPE;
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		uint64_t at = msg.arg.pagefault.address;
		const struct hf_wp_block *b = NULL;
		for (int i = 0; i < n && !b; i++) {
			if (at >= blocks[i].address && at - blocks[i].address < blocks[i].bytes)
				b = &blocks[i];
		}
		if (!b || b->page > room_bytes)
			return try_again(uffd, at, b ? -ENOSPC : -EFAULT);
		uint64_t from = at - (at - b->address) % b->page;
		uint64_t bytes = b->page;
		if (b->page == PAGE) { /* neighbours are written next, as a rule */
			uint64_t left = b->address + b->bytes - from;
			bytes = MOST_BESIDE * (uint64_t)PAGE;
			if (bytes > left)
				bytes = left;
			if (bytes > room_bytes)
				bytes = room_bytes / PAGE * PAGE;
			int protected = still_protected(pagemap, from, (int)(bytes / PAGE));
			if (protected < 0)
				return try_again(uffd, at, protected);
			bytes = (uint64_t)(protected ? protected : 1) * PAGE;
		}
		struct iovec here = {.iov_base = room, .iov_len = bytes};
		struct iovec there = {.iov_base = (void *)(uintptr_t)from, .iov_len = bytes}; /* NOLINT: not ours */
		ssize_t copied = process_vm_readv(pid, &here, 1, &there, 1, 0);
		if (copied != (ssize_t)bytes)
			return try_again(uffd, at, copied < 0 ? -errno : -EFAULT);
		/*
		 * Protection is taken off once and never put on again: a page that is protected after it was read has not been written
		 * since the snapshot. Else its owner was first, and what was read may be newer than the snapshot.
		 */
		int valid = still_protected(pagemap, from, b->page == PAGE ? (int)(bytes / PAGE) : 1);
		if (valid < 0)
			return try_again(uffd, at, valid);
		if (b->page == PAGE)
			bytes = (uint64_t)valid * PAGE;
		int e = release(uffd, from, valid ? bytes : b->page);
		if (e < 0)
			return try_again(uffd, at, e);
		if (valid == 0)
			continue;
		result[0] = (uint64_t)(b - blocks);
		result[1] = from - b->address;
		result[2] = bytes;
		return 0;
	}
}
