/*
 * SHA-256 (FIPS 180-4) of two messages at once with the SHA extensions of x86 processors. The rounds of one message wait for each
 * other: sha256rnds2 takes 4 cycles, and a processor could begin one every 2. The rounds of another message fit between.
 */
#include "holdfast.h"
#include <errno.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1")))
#define BLOCK 64

static const uint32_t K[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* A digest as the instructions want it: words a, b, e, f in one register and c, d, g, h in the other. */
struct lane {
	__m128i abef, cdgh;
};

TARGET static inline struct lane load(const uint32_t *state)
{
	__m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
	__m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
	return (struct lane){_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0)};
}

TARGET static inline void store(uint32_t *state, struct lane l)
{
	__m128i feba = _mm_shuffle_epi32(l.abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(l.cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

TARGET static void blocks_of_two(uint32_t *states, const uint8_t *a, const uint8_t *b, int blocks)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	struct lane lane[2] = {load(states), load(states + 8)};
	const uint8_t *from[2] = {a, b};
	for (; blocks > 0; blocks--) {
		struct lane before[2] = {lane[0], lane[1]};
		__m128i w[2][4];
		for (int l = 0; l < 2; l++) {
			for (int i = 0; i < 4; i++)
				w[l][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from[l] + 16 * i)), big_endian);
			from[l] += BLOCK;
		}
#pragma GCC unroll 16
		for (int r = 0; r < 16; r++) { /* four rounds each */
			__m128i k = _mm_load_si128((const __m128i *)(K + 4 * r));
#pragma GCC unroll 2
			for (int l = 0; l < 2; l++) {
				__m128i wk = _mm_add_epi32(w[l][r & 3], k);
				lane[l].cdgh = _mm_sha256rnds2_epu32(lane[l].cdgh, lane[l].abef, wk);
				lane[l].abef = _mm_sha256rnds2_epu32(lane[l].abef, lane[l].cdgh, _mm_shuffle_epi32(wk, 0x0e));
				if (r < 12) { /* the words of four groups later, in the place of these */
					__m128i w9 = _mm_alignr_epi8(w[l][(r + 3) & 3], w[l][(r + 2) & 3], 4);
					__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[l][r & 3], w[l][(r + 1) & 3]), w9);
					w[l][r & 3] = _mm_sha256msg2_epu32(sum, w[l][(r + 3) & 3]);
				}
			}
		}
		for (int l = 0; l < 2; l++) {
			lane[l].abef = _mm_add_epi32(lane[l].abef, before[l].abef);
			lane[l].cdgh = _mm_add_epi32(lane[l].cdgh, before[l].cdgh);
		}
	}
	store(states, lane[0]);
	store(states + 8, lane[1]);
}

int hf_sha256_two_able(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
		return 0;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) ? 1 : 0;
}

int hf_sha256_two(uint32_t *states, const uint8_t *a, long a_offset, const uint8_t *b, long b_offset, int blocks)
{
	blocks_of_two(states, a + a_offset, b + b_offset, blocks);
	return 0;
}
#else
int hf_sha256_two_able(void) { return 0; }

int hf_sha256_two(uint32_t *states, const uint8_t *a, long a_offset, const uint8_t *b, long b_offset, int blocks)
{
	(void)states, (void)a, (void)a_offset, (void)b, (void)b_offset, (void)blocks;
	return -ENOSYS;
}
#endif
