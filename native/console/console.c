/*
 * hf-console: takes what a VM's console says from descriptor 3 and puts it at the end of the file on stdout, so that QEMU, and with it the guest,
 * never waits for the disk: a pipe is between them. Ends when nobody can write to the pipe any more. What the disk does not take, because it is full,
 * is lost, as it is when QEMU writes the file. It is a process of its own because it must outlive the agent.
 */
#include <errno.h>
#include <unistd.h>

enum { FROM = 3, TO = 1 };

int main(void)
{
	static char said[1 << 16];
	for (;;) {
		ssize_t n = read(FROM, said, sizeof said);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return 1;
		for (ssize_t at = 0, w; at < n; at += w) {
			while ((w = write(TO, said + at, (size_t)(n - at))) < 0 && errno == EINTR)
				;
			if (w < 0)
				break;
		}
	}
}
