/* The gate: a BPF program on a TAP's TCX egress hook, and a map value that it shares with us. */
#define _GNU_SOURCE
#include "fault.h"
#include "holdfast.h"
#include "netns.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TCX_EGRESS 47 /* BPF_TCX_EGRESS of Linux 6.6; older headers lack it */
#define CMD_LINK_CREATE 28
#define TCX_PASS 0
#define TCX_DROP 2
#define MAP_BYTES 4096

/* A line of the program; jumps name a label, see assemble(). */
enum label { NONE, DATA, FORMER, COOKIE, HELD_COOKIE, DROP_COOKIE, OPENING, HOLD, REDIRECT, PASSED, PASS, LABELS };
struct line {
	struct bpf_insn insn;
	enum label to, here;
};

#define INSN(c, d, s, o, i) {.insn = {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (short)(o), .imm = (int)(i)}}
#define MOV(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, v) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, v)
#define PLUS(d, v) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, v)
#define LOAD32(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define LOAD64(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define ZERO32(d, o) INSN(BPF_ST | BPF_MEM | BPF_W, d, 0, o, 0)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define ATOMIC_ADD(d, o, s) INSN(BPF_STX | BPF_DW | 0xc0, d, s, o, 0)
#define FETCH_ADD(d, o, s) INSN(BPF_STX | BPF_DW | 0xc0, d, s, o, 1) /* a full barrier */
#define JUMP(c, d, s, i, l) {.insn = {.code = (c), .dst_reg = (d), .src_reg = (s), .imm = (int)(i)}, .to = (l)}
#define GOTO(l) JUMP(BPF_JMP | BPF_JA, 0, 0, 0, l)
#define IF_EQ(d, v, l) JUMP(BPF_JMP | BPF_JEQ | BPF_K, d, 0, v, l)
#define IF_NE(d, v, l) JUMP(BPF_JMP | BPF_JNE | BPF_K, d, 0, v, l)
#define IF_SAME(d, s, l) JUMP(BPF_JMP | BPF_JEQ | BPF_X, d, s, 0, l)
#define IF_DIFFER(d, s, l) JUMP(BPF_JMP | BPF_JNE | BPF_X, d, s, 0, l)
#define AT(l) {.here = (l)}
#define F(field) offsetof(struct hf_gate, field)

enum { R0, R1, R2, R3, R4, CTX = 6, MARK = 7, GATE = 8, FP = 10 };

static int assemble(const struct line *in, int n, struct bpf_insn *out)
{
	int where[LABELS] = {0}, at = 0;
	for (int i = 0; i < n; i++)
		if (in[i].here)
			where[in[i].here] = at;
		else
			at++;
	at = 0;
	for (int i = 0; i < n; i++)
		if (!in[i].here) {
			out[at] = in[i].insn;
			if (in[i].to)
				out[at].off = (short)(where[in[i].to] - at - 1);
			at++;
		}
	return at;
}

static int bpf(int cmd, void *attr, size_t size) { return (int)syscall(SYS_bpf, cmd, attr, size); }

static int load(int map, int hold, char *log, unsigned logsize)
{
	const struct line program[] = {
		MOV(CTX, R1),
		LOAD32(MARK, CTX, offsetof(struct __sk_buff, mark)),
		ZERO32(FP, -4),
		MOV(R2, FP), PLUS(R2, -4),
		INSN(BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map), INSN(0, 0, 0, 0, 0),
		CALL(BPF_FUNC_map_lookup_elem),
		IF_EQ(R0, 0, PASS),
		MOV(GATE, R0),
		/* Is it a cookie of this cut? */
		LOAD32(R1, CTX, offsetof(struct __sk_buff, protocol)),
		IF_NE(R1, htons(HF_COOKIE_TYPE), DATA),
		LOAD64(R1, GATE, F(nonce_set)),
		IF_EQ(R1, 0, DATA),
		MOV(R1, CTX), SET(R2, 14), MOV(R3, FP), PLUS(R3, -24), SET(R4, 16),
		CALL(BPF_FUNC_skb_load_bytes),
		IF_NE(R0, 0, DATA),
		LOAD64(R1, FP, -24), LOAD64(R2, GATE, F(nonce)),
		IF_DIFFER(R1, R2, FORMER),
		LOAD64(R1, FP, -16), LOAD64(R2, GATE, F(nonce) + 8),
		IF_SAME(R1, R2, COOKIE),
		/* Or a late one of the cut before? */
		AT(FORMER),
		LOAD64(R1, GATE, F(nonce_set)),
		IF_NE(R1, 2, DATA),
		LOAD64(R1, FP, -24), LOAD64(R2, GATE, F(former)),
		IF_DIFFER(R1, R2, DATA),
		LOAD64(R1, FP, -16), LOAD64(R2, GATE, F(former) + 8),
		IF_DIFFER(R1, R2, DATA),
		SET(R1, 1), FETCH_ADD(GATE, F(cookies), R1),
		GOTO(DROP_COOKIE),
		AT(COOKIE),
		SET(R1, 1), FETCH_ADD(GATE, F(cookies), R1),
		LOAD64(R1, GATE, F(state)),
		IF_NE(R1, HF_OPEN, HELD_COOKIE),
		AT(DROP_COOKIE),
		SET(R1, 1), ATOMIC_ADD(GATE, F(cookies_dropped), R1),
		SET(R0, TCX_DROP), EXIT,
		AT(HELD_COOKIE),
		SET(R1, 1), ATOMIC_ADD(GATE, F(cookies_held), R1),
		GOTO(REDIRECT),
		/* A data frame: counted before the state is read. */
		AT(DATA),
		SET(R1, 1), FETCH_ADD(GATE, F(entered), R1),
		IF_NE(MARK, HF_BYPASS_MARK, OPENING),
		SET(R1, 1), ATOMIC_ADD(GATE, F(injected), R1),
		GOTO(PASS),
		AT(OPENING),
		LOAD64(R1, GATE, F(state)),
		IF_EQ(R1, HF_OPEN, PASSED),
		IF_EQ(R1, HF_CLOSED, HOLD),
		/* Opening: let through only when every held frame has been given back, so that order is kept. */
		LOAD64(R1, GATE, F(held)), LOAD64(R2, GATE, F(given)),
		IF_SAME(R1, R2, PASSED),
		AT(HOLD),
		SET(R1, 1), ATOMIC_ADD(GATE, F(held), R1),
		AT(REDIRECT),
		SET(R1, hold), SET(R2, 0), CALL(BPF_FUNC_redirect), EXIT,
		AT(PASSED),
		SET(R1, 1), ATOMIC_ADD(GATE, F(passed), R1),
		AT(PASS),
		SET(R0, TCX_PASS), EXIT,
	};
	struct bpf_insn insns[sizeof program / sizeof *program];
	union bpf_attr a = {0};
	a.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	a.insns = (uint64_t)(uintptr_t)insns;
	a.insn_cnt = (unsigned)assemble(program, sizeof program / sizeof *program, insns);
	a.license = (uint64_t)(uintptr_t)"Apache-2.0";
	a.log_buf = (uint64_t)(uintptr_t)log;
	a.log_size = logsize;
	a.log_level = log ? 1 : 0;
	strcpy(a.prog_name, "holdfast_gate");
	int fd = bpf(BPF_PROG_LOAD, &a, sizeof a);
	return fd < 0 ? -errno : fd;
}

int hf_gate_attach(int netns, int tap_ifindex, int hold_ifindex, int state, int result[2])
{
	union bpf_attr a = {0};
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = 4;
	a.value_size = sizeof(struct hf_gate);
	a.max_entries = 1;
	a.map_flags = BPF_F_MMAPABLE;
	strcpy(a.map_name, "holdfast_gate");
	int map = bpf(BPF_MAP_CREATE, &a, sizeof a), prog = -1, r;
	if (map < 0)
		return -errno;
	struct hf_gate *gate;
	r = hf_gate_map(map, &gate);
	if (r < 0)
		goto failed;
	hf_gate_set(gate, state);
	hf_gate_unmap(gate);
	prog = load(map, hold_ifindex, NULL, 0);
	if (prog < 0) {
		if (getenv("HOLDFAST_BPF_LOG")) {
			static char log[65536];
			load(map, hold_ifindex, log, sizeof log);
			fprintf(stderr, "holdfast: BPF verifier:\n%s\n", log);
		}
		r = prog;
		goto failed;
	}
	int home;
	r = hf_enter(netns, &home);
	if (r < 0)
		goto failed;
	uint32_t link[16] = {(uint32_t)prog, (uint32_t)tap_ifindex, TCX_EGRESS, 0};
	int fd = bpf(CMD_LINK_CREATE, link, sizeof link);
	r = fd < 0 ? -errno : 0;
	hf_leave(home);
	if (r < 0)
		goto failed;
	close(prog); /* the link keeps it */
	result[0] = map;
	result[1] = fd;
	return 0;
failed:
	if (prog >= 0)
		close(prog);
	close(map);
	return r;
}

int hf_gate_map(int map_fd, struct hf_gate **out)
{
	void *p = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

int hf_gate_unmap(struct hf_gate *gate) { return munmap(gate, MAP_BYTES) < 0 ? -errno : 0; }

int hf_gate_set(struct hf_gate *gate, int state)
{
	hf_fault_at(state == HF_CLOSED ? HF_AT_GATE_CLOSE : HF_AT_GATE_OPEN);
	__atomic_store_n(&gate->state, (uint64_t)state, __ATOMIC_SEQ_CST);
	return 0;
}

int hf_gate_given(struct hf_gate *gate, uint64_t given)
{
	__atomic_store_n(&gate->given, given, __ATOMIC_SEQ_CST);
	return 0;
}

int hf_gate_nonce(struct hf_gate *gate, const uint8_t *nonce)
{
	/* The former one is known by both names for a moment, so that no cookie of it slips through. */
	uint64_t had = __atomic_load_n(&gate->nonce_set, __ATOMIC_SEQ_CST);
	if (had && memcmp(gate->nonce, nonce, sizeof gate->nonce) == 0)
		return 0;
	if (had) {
		memcpy(gate->former, gate->nonce, sizeof gate->former);
		__atomic_store_n(&gate->nonce_set, 2, __ATOMIC_SEQ_CST);
	}
	memcpy(gate->nonce, nonce, sizeof gate->nonce);
	if (!had)
		__atomic_store_n(&gate->nonce_set, 1, __ATOMIC_SEQ_CST);
	return 0;
}

#define GET(field) __atomic_load_n(&gate->field, __ATOMIC_SEQ_CST)

int hf_gate_read(const struct hf_gate *gate, uint64_t out[9])
{
	out[4] = GET(passed);
	out[5] = GET(held);
	out[7] = GET(cookies_held);
	out[8] = GET(cookies_dropped);
	out[3] = GET(injected);
	out[2] = GET(entered);
	out[6] = GET(cookies);
	out[1] = GET(given);
	out[0] = GET(state);
	return 0;
}

static int is_cookie(const struct hf_gate *gate, const unsigned char *f, size_t len)
{
	return len >= 12 + 14 + 16 && f[24] == HF_COOKIE_TYPE >> 8 && f[25] == (HF_COOKIE_TYPE & 255) &&
	       GET(nonce_set) && memcmp(f + 26, gate->nonce, 16) == 0;
}

int hf_gate_give(struct hf_gate *gate, int hold_fd, int out_fd, int max, long patience_us, uint64_t result[5])
{
	unsigned char frame[12 + 65536 + 64];
	memset(result, 0, 5 * sizeof *result);
	for (int i = 0; i < max; i++) {
		ssize_t n;
		do
			n = read(hold_fd, frame, sizeof frame);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (is_cookie(gate, frame, (size_t)n)) {
			result[1]++;
			continue;
		}
		result[0]++;
		int fault = hf_fault_at(HF_AT_GIVE);
		if (fault < 0)
			return fault;
		int64_t until = 0;
		for (;;) {
			long r = hf_inject(out_fd, frame, (size_t)n);
			if (r >= 0)
				break;
			if (r == -EMSGSIZE) { /* larger than its segment allows: no use in trying again */
				result[4]++;
				break;
			}
			if (r != -ENOBUFS && r != -EAGAIN)
				return (int)r;
			result[2]++;
			int64_t now = hf_monotonic_nanos();
			if (!until)
				until = result[3] ? now : now + patience_us * 1000; /* waited in vain before */
			if (now >= until) {
				result[3]++;
				break;
			}
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
		}
		hf_gate_given(gate, GET(given) + 1);
	}
	return 0;
}
