/*
 * ring SIZE INDEX LISTEN-PORT NEXT-IP NEXT-PORT [LAP-MS [PAYLOAD]]
 *
 * SIZE nodes in a ring; each holds one TCP connection to the next. A token goes around:
 *
 *   "HFRT" | u32 payload bytes | u64 count | hash[32] | payload      (little endian)
 *
 * hash(0) = SHA-256("holdfast ring"), hash(n) = SHA-256(hash(n-1) | n as 8 bytes): anyone can compute what a count's hash must be. The
 * payload is a pseudo-random stream seeded by the hash. Every node computes what it must receive and compares every byte. Whatever differs
 * (a lost, repeated, reordered or changed byte, a token too many, a closed connection) breaks the ring for good: connections are made once.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 48, MAX_PAYLOAD = 65536 };

static uint8_t frame[HEAD + MAX_PAYLOAD], wanted[HEAD + MAX_PAYLOAD];
static size_t payload = 1500;

_Noreturn static void broken(const char *why, uint64_t count) {
  say("RING BROKEN %s count=%llu errno=%d", why, (unsigned long long)count, errno);
  exit(1);
}

/* hash = SHA-256(hash | count) */
static void step(uint8_t hash[32], uint64_t count) {
  uint8_t in[40];
  memcpy(in, hash, 32);
  put64(in + 32, count);
  sha256(in, sizeof in, hash);
}

/* Writes the token of that count. */
static void token(uint8_t *to, uint64_t count, const uint8_t hash[32]) {
  memcpy(to, "HFRT", 4);
  for (int i = 0; i < 4; i++) to[4 + i] = (uint8_t)(payload >> 8 * i);
  put64(to + 8, count);
  memcpy(to + 16, hash, 32);
  uint64_t x;
  memcpy(&x, hash, 8);
  x |= 1;
  for (size_t at = 0; at < payload; at += 8) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17; /* xorshift64 */
    uint8_t eight[8];
    put64(eight, x);
    memcpy(to + HEAD + at, eight, payload - at < 8 ? payload - at : 8);
  }
}

static void hex8(const uint8_t hash[32], char out[17]) {
  for (int i = 0; i < 8; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static struct sockaddr_in address(const char *ip, long port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (ip && !inet_aton(ip, &a.sin_addr)) {
    say("USAGE '%s' is no IPv4 address", ip);
    exit(2);
  }
  return a;
}

static void no_delay(int s) {
  int on = 1;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int ring_main(int argc, char **argv) {
  if (argc < 6 || argc > 8) {
    say("USAGE ring SIZE INDEX LISTEN-PORT NEXT-IP NEXT-PORT [LAP-MS [PAYLOAD]]");
    return 2;
  }
  const uint64_t size = (uint64_t)number("size", argv[1], 2, 64);
  const uint64_t index = (uint64_t)number("index", argv[2], 0, (long)size - 1);
  const struct sockaddr_in at = address(NULL, number("listen port", argv[3], 1, 65535));
  const struct sockaddr_in next = address(argv[4], number("next port", argv[5], 1, 65535));
  const uint64_t lap = (uint64_t)(argc > 6 ? number("lap-ms", argv[6], 0, 10000) : 20) * 1000000u;
  if (argc > 7) payload = (size_t)number("payload", argv[7], 0, MAX_PAYLOAD);

  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (const struct sockaddr *)&at, sizeof at) || listen(listener, 1)) broken("cannot-listen", 0);

  /* Only before the ring is closed may connecting be tried again. */
  int out = -1, in = -1;
  while (out < 0 || in < 0) {
    if (out < 0) {
      int s = socket(AF_INET, SOCK_STREAM, 0);
      int syn = 2; /* a neighbour that is not there yet is tried again soon */
      setsockopt(s, IPPROTO_TCP, TCP_SYNCNT, &syn, sizeof syn);
      fcntl(s, F_SETFL, O_NONBLOCK);
      if (connect(s, (const struct sockaddr *)&next, sizeof next) && errno == EINPROGRESS) {
        struct pollfd p = {.fd = s, .events = POLLOUT};
        poll(&p, 1, 500);
      }
      int e = 0;
      socklen_t n = sizeof e;
      struct sockaddr_in peer;
      socklen_t m = sizeof peer;
      if (!getsockopt(s, SOL_SOCKET, SO_ERROR, &e, &n) && !e && !getpeername(s, (struct sockaddr *)&peer, &m)) {
        fcntl(s, F_SETFL, 0);
        out = s;
      } else {
        close(s);
      }
    }
    if (in < 0) {
      struct pollfd p = {.fd = listener, .events = POLLIN};
      if (poll(&p, 1, 100) == 1) in = accept(listener, NULL, NULL);
    } else if (out < 0) {
      sleep_until(now_ns() + 100000000u);
    }
  }
  close(listener);
  no_delay(out);
  no_delay(in);
  say("RING up size=%llu index=%llu", (unsigned long long)size, (unsigned long long)index);

  uint8_t hash[32];
  sha256("holdfast ring", 13, hash);
  uint64_t count = 0, due = now_ns(), shown = 0, heard = now_ns();
  char text[17];
  int first = 1;
  for (;;) {
    if (!first || index) {
      /* what must come: the token that the previous node makes of mine, size-1 hops later (index hops at first) */
      uint64_t hops = first ? index : size - 1;
      for (uint64_t i = 0; i < hops; i++) step(hash, ++count);
      token(wanted, count, hash);
      size_t all = HEAD + payload, got = 0;
      while (got < all) {
        struct pollfd p = {.fd = in, .events = POLLIN};
        if (poll(&p, 1, 1000) == 0) {
          hex8(hash, text);
          say("RING waiting for=%llu seconds=%llu", (unsigned long long)count, (unsigned long long)((now_ns() - heard) / 1000000000u));
          continue;
        }
        ssize_t n = recv(in, frame + got, all - got, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) broken(n ? "receive-failed" : "connection-closed", count);
        if (memcmp(frame + got, wanted + got, (size_t)n)) broken("wrong-bytes", count);
        got += (size_t)n;
      }
      heard = now_ns();
    }
    if (!index) { /* the first node sets the pace */
      if (heard > due) due = heard;
      sleep_until(due);
      due += lap;
    }
    first = 0;
    step(hash, ++count);
    token(frame, count, hash);
    for (size_t at_byte = 0; at_byte < HEAD + payload;) {
      ssize_t n = send(out, frame + at_byte, HEAD + payload - at_byte, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) broken("send-failed", count);
      at_byte += (size_t)n;
    }
    if (now_ns() - shown >= 500000000u) {
      shown = now_ns();
      hex8(hash, text);
      say("RING count=%llu hash=%s ok", (unsigned long long)count, text);
    }
  }
}
