/* What the guest's programs share. */
#ifndef HOLDFAST_GUEST_H
#define HOLDFAST_GUEST_H

#include <stddef.h>
#include <stdint.h>

/* The programs. Each returns an exit status; argv[0] is the program's name. */
int ring_main(int argc, char **argv);
int udpseq_main(int argc, char **argv);
int clock_main(int argc, char **argv);
int touch_main(int argc, char **argv);

/* Prints one whole line with a single write, so that lines of several programs do not mix on the console. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);

/* Sleeps until that CLOCK_MONOTONIC time. */
void sleep_until(uint64_t ns);

/* A whole number from text, or ends the program with a message that names it. */
long number(const char *what, const char *text, long low, long high);

/* SHA-256 (FIPS 180-4) of n bytes. */
void sha256(const void *data, size_t n, uint8_t out[32]);

#endif
