/* Starting processes and following them by pidfd. */
#define _GNU_SOURCE
#include "holdfast.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static char **unpack(const char *packed, int n)
{
	char **v = calloc((size_t)n + 1, sizeof *v);
	for (int i = 0; v && i < n; i++) {
		v[i] = (char *)(uintptr_t)packed;
		packed += strlen(packed) + 1;
	}
	return v;
}

struct pair {
	int from, to;
};

static int by_target(const void *a, const void *b)
{
	return ((const struct pair *)a)->to - ((const struct pair *)b)->to;
}

/* Everything here must be async-signal-safe: the parent has other threads. */
static void child(int report, const char *path, char **argv, char **envp, const char *cwd, struct pair *map, int n,
		  int netns, int uid, int gid, const gid_t *groups, int ngroups)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	for (int s = 1; s < 65; s++)
		sigaction(s, &plain, NULL); /* fails for KILL, STOP and two of libc's */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	if (setsid() < 0)
		goto failed;
	if (netns >= 0 && setns(netns, CLONE_NEWNET) < 0)
		goto failed;
	if (chdir(cwd ? cwd : "/") < 0)
		goto failed;
	/* First above every target, then down to the targets, then nothing else stays. */
	int top = map[n - 1].to + 1;
	int safe = fcntl(report, F_DUPFD_CLOEXEC, top);
	if (safe < 0)
		goto failed;
	report = safe;
	for (int i = 0; i < n; i++)
		if ((map[i].from = fcntl(map[i].from, F_DUPFD_CLOEXEC, top)) < 0)
			goto failed;
	for (int i = 0; i < n; i++)
		if (dup2(map[i].from, map[i].to) < 0)
			goto failed;
	if (dup3(report, top, O_CLOEXEC) < 0 && errno != EINVAL) /* EINVAL: it is there already */
		goto failed;
	report = top;
	if (syscall(SYS_close_range, (unsigned)top + 1, ~0U, 0) < 0)
		goto failed;
	for (int i = 1; i < n; i++)
		if (map[i].to - map[i - 1].to > 1 &&
		    syscall(SYS_close_range, (unsigned)map[i - 1].to + 1, (unsigned)map[i].to - 1, 0) < 0)
			goto failed;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		goto failed;
	if (uid >= 0 && syscall(SYS_setgroups, ngroups, groups) < 0)
		goto failed;
	if (gid >= 0 && syscall(SYS_setresgid, gid, gid, gid) < 0)
		goto failed;
	if (uid >= 0 && syscall(SYS_setresuid, uid, uid, uid) < 0)
		goto failed;
	execve(path, argv, envp);
failed:;
	int e = errno;
	ssize_t ignored = write(report, &e, sizeof e);
	(void)ignored;
	_exit(127);
}

int hf_spawn(const char *path, const char *argv_packed, int argc, const char *envp_packed, int envc, const char *cwd,
	     const int *fds, int nfds, int netns, int uid, int gid, const int *groups, int ngroups, int out_fd, int err_fd,
	     int result[2])
{
	if (argc < 1 || envc < 0 || nfds < 0 || nfds > 1024 || ngroups < 0 || ngroups > 1024)
		return -EINVAL;
	int r = -ENOMEM, null = -1, report[2] = {-1, -1}, n = nfds + 3;
	char **argv = unpack(argv_packed, argc), **envp = unpack(envp_packed, envc);
	struct pair *map = calloc((size_t)n, sizeof *map);
	gid_t *g = calloc((size_t)ngroups + 1, sizeof *g);
	if (!argv || !envp || !map || !g)
		goto done;
	r = -EINVAL;
	for (int i = 0; i < ngroups; i++)
		g[i] = (gid_t)groups[i];
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(report, O_CLOEXEC) < 0) {
		r = -errno;
		goto done;
	}
	map[0] = (struct pair){null, 0};
	map[1] = (struct pair){out_fd < 0 ? null : out_fd, 1};
	map[2] = (struct pair){err_fd < 0 ? null : err_fd, 2};
	for (int i = 0; i < nfds; i++) {
		map[i + 3] = (struct pair){fds[2 * i], fds[2 * i + 1]};
		if (fds[2 * i] < 0 || fds[2 * i + 1] < 3 || fds[2 * i + 1] > 4096)
			goto done;
	}
	qsort(map, (size_t)n, sizeof *map, by_target);
	for (int i = 1; i < n; i++)
		if (map[i].to == map[i - 1].to)
			goto done;
	/* No signal handler of the parent may run in the child. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		child(report[1], path, argv, envp, cwd, map, n, netns, uid, gid, g, ngroups);
	r = pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		goto done;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int opened = pidfd < 0 ? -errno : 0;
	close(report[1]);
	report[1] = -1;
	int error = 0;
	ssize_t got;
	do
		got = read(report[0], &error, sizeof error);
	while (got < 0 && errno == EINTR);
	if (got == 0 && opened == 0) {
		result[0] = pid;
		result[1] = pidfd;
		goto done;
	}
	r = got == sizeof error ? -error : opened < 0 ? opened : -EIO;
	kill(pid, SIGKILL); /* it is our child and not yet waited for: the pid is still its own */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
done:
	if (null >= 0)
		close(null);
	for (int i = 0; i < 2; i++)
		if (report[i] >= 0)
			close(report[i]);
	free(argv);
	free(envp);
	free(map);
	free(g);
	return r;
}

static int result_of(long r) { return r < 0 ? -errno : (int)r; }

int hf_pidfd_open(int pid) { return result_of(syscall(SYS_pidfd_open, pid, 0)); }

int hf_pidfd_signal(int pidfd, int sig) { return result_of(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0)); }

int hf_pidfd_getfd(int pidfd, int fd) { return result_of(syscall(SYS_pidfd_getfd, pidfd, fd, 0)); }

int hf_pidfd_wait(int pidfd, int timeout_ms)
{
	int events = POLLIN;
	int r = hf_poll(&pidfd, &events, 1, timeout_ms < 0 ? -1 : timeout_ms * 1000L);
	return r < 0 ? r : r == 0 ? -ETIMEDOUT : events & POLLNVAL ? -EBADF : 0;
}

int hf_pidfd_reap(int pidfd, int *status)
{
	siginfo_t i = {0};
	int r;
	do
		r = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &i, WEXITED | WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (i.si_pid == 0)
		return 0;
	*status = i.si_code == CLD_EXITED ? i.si_status : 128 + i.si_status;
	return 1;
}

int hf_thread_realtime(int tid, int priority, int inherit)
{
	struct sched_param p = {.sched_priority = priority};
	int policy = priority > 0 ? SCHED_RR | (inherit ? 0 : SCHED_RESET_ON_FORK) : SCHED_OTHER;
	return sched_setscheduler(tid, policy, &p) < 0 ? -errno : 0;
}

int hf_touch(int pid, uint64_t from, uint64_t to, uint64_t step)
{
	enum { BATCH = 512 };
	struct iovec theirs[BATCH];
	char bytes[BATCH];
	if (step == 0)
		return -EINVAL;
	while (from < to) {
		int n = 0;
		for (; n < BATCH && from < to; n++, from += step)
			theirs[n] = (struct iovec){.iov_base = (void *)(uintptr_t)from, .iov_len = 1}; /* NOLINT: not ours */
		ssize_t r = process_vm_readv(pid, &(struct iovec){.iov_base = bytes, .iov_len = (size_t)n}, 1, theirs, (unsigned long)n, 0);
		if (r != n)
			return r < 0 ? -errno : -EFAULT;
	}
	return 0;
}

int hf_thread_nice(int tid, int nice)
{
	return setpriority(PRIO_PROCESS, (id_t)(tid != 0 ? tid : syscall(SYS_gettid)), nice) < 0 ? -errno : 0;
}
