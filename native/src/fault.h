/* Places at which hf_fault can make something go wrong. The numbers are those of FaultPoint.java. */
#ifndef HOLDFAST_FAULT_H
#define HOLDFAST_FAULT_H
enum {
	HF_AT_PIPE = 50,
	HF_AT_PASS_FD,
	HF_AT_COUNTERS,
	HF_AT_GATE_CLOSE,
	HF_AT_GATE_OPEN,
	HF_AT_COOKIE,
	HF_AT_HELD_READ,
	HF_AT_INJECT,
	HF_AT_GIVE,
	HF_AT_LAST = HF_AT_GIVE
};

/* The armed one, 0 for none. */
extern int hf_fault_armed;
int hf_fault_happens(int point);

/* 0, or what the caller is to return. */
static inline int hf_fault_at(int point)
{
	return __builtin_expect(__atomic_load_n(&hf_fault_armed, __ATOMIC_RELAXED) == point, 0) ? hf_fault_happens(point) : 0;
}
#endif
