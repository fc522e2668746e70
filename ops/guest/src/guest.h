/* What the guest's programs share. */
#ifndef HOLDFAST_GUEST_H
#define HOLDFAST_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The programs. Each returns an exit status; argv[0] is the program's name. */
int ring_main(int argc, char **argv);
int udpseq_main(int argc, char **argv);
int bulk_main(int argc, char **argv);
int ether_main(int argc, char **argv);
int drops_main(int argc, char **argv);
int clock_main(int argc, char **argv);
int touch_main(int argc, char **argv);

/* Prints one whole line with a single write, so that lines of several programs do not mix on the console. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);

/* Sleeps until that CLOCK_MONOTONIC time. */
void sleep_until(uint64_t ns);

/* Sleeps until the next of a series of times, gap ns apart; one that is far behind begins anew, so that no burst comes. */
void keep_pace(uint64_t *due, uint64_t gap);

/* A whole number from text, or ends the program with a message that names it. */
long number(const char *what, const char *text, long low, long high);

/* SHA-256 (FIPS 180-4) of n bytes. */
void sha256(const void *data, size_t n, uint8_t out[32]);

/* Little endian. */
void put64(uint8_t *p, uint64_t v);
uint64_t get64(const uint8_t *p);

/* Word i of a pseudo-random stream that a seed stands for. */
uint64_t pattern(uint64_t seed, uint64_t i);

/* An address of a socket. */
struct place {
  struct sockaddr_storage at;
  socklen_t length;
  unsigned device; /* index of the device named behind %, 0 if none */
};

/* An IPv4 or IPv6 address, ADDRESS or ADDRESS%DEVICE, or ends the program. Waits for a device that is not there yet. */
struct place place(const char *address, long port);

/* A socket buffer so large that a starved receiver does not look like a lost frame. */
void large_buffer(int s);

/* Who counts what is lost, repeated or reordered of a stream numbered 1, 2, 3, ... */
struct sequence {
  int port; /* names the stream on the console */
  uint64_t expected, last, got, lost, repeated, reordered, shown;
  uint8_t *seen;
};

/* A number has come. Says what is wrong with it. */
void sequence_take(struct sequence *s, uint64_t n);

/* Says how far it is, at most every 0.5 s. */
void sequence_show(struct sequence *s);

#endif
