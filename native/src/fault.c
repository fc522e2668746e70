/* Faults on purpose, for tests: see fault.h. */
#define _GNU_SOURCE
#include "fault.h"
#include "holdfast.h"
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

int hf_fault_armed;
static int fault_action;
static int64_t fault_millis;

int hf_fault(int point, int action, int64_t millis)
{
	if (point && (point < HF_AT_PIPE || point > HF_AT_LAST))
		return -EINVAL;
	if (action < HF_KILL || action > HF_DELAY || millis < 0)
		return -EINVAL;
	__atomic_store_n(&hf_fault_armed, 0, __ATOMIC_SEQ_CST);
	fault_action = action;
	fault_millis = millis;
	__atomic_store_n(&hf_fault_armed, point, __ATOMIC_SEQ_CST);
	return 0;
}

int hf_fault_happens(int point)
{
	if (!__atomic_compare_exchange_n(&hf_fault_armed, &point, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return 0; /* it has happened to another thread */
	if (fault_action == HF_KILL)
		kill(getpid(), SIGKILL);
	if (fault_action == HF_FAIL)
		return -EIO;
	nanosleep(&(struct timespec){.tv_sec = fault_millis / 1000, .tv_nsec = fault_millis % 1000 * 1000000}, NULL);
	return 0;
}
