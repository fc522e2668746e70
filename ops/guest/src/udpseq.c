/*
 * udpseq send IP PORT RATE [BYTES]   numbered datagrams, RATE a second
 * udpseq recv PORT                   counts what is lost, repeated or reordered
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { WINDOW = 1 << 16 }; /* how far back a datagram can be told to be repeated or reordered */

static int sender(int argc, char **argv) {
  if (argc != 5 && argc != 6) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number("port", argv[3], 1, 65535))};
  if (!inet_aton(argv[2], &to.sin_addr)) return 2;
  const uint64_t gap = 1000000000u / (uint64_t)number("rate", argv[4], 1, 100000);
  const size_t bytes = argc > 5 ? (size_t)number("bytes", argv[5], 8, 8192) : 256;
  static char buf[8192];
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  uint64_t due = now_ns(), shown = due;
  for (uint64_t n = 1;; n++) {
    memcpy(buf, &n, sizeof n);
    /* A datagram that this host itself refuses (no route or neighbour yet) was never on the wire: the same number goes again. */
    while (sendto(s, buf, bytes, 0, (struct sockaddr *)&to, sizeof to) < 0) sleep_until(now_ns() + 10000000u);
    due += gap;
    uint64_t now = now_ns();
    if (due + 100 * gap < now) due = now; /* starved: keep the rate, no burst */
    if (now - shown >= 1000000000u) {
      shown = now;
      say("TX last=%llu port=%d", (unsigned long long)n, ntohs(to.sin_port));
    }
    sleep_until(due);
  }
}

static int receiver(int argc, char **argv) {
  if (argc != 3) return 2;
  int port = (int)number("port", argv[2], 1, 65535);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int s = socket(AF_INET, SOCK_DGRAM, 0), big = 8 << 20;
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big); /* a starved receiver must not look like a lost frame */
  if (bind(s, (struct sockaddr *)&at, sizeof at)) {
    say("RX cannot-bind port=%d errno=%d", port, errno);
    return 1;
  }
  static uint8_t seen[WINDOW];
  static char buf[8192];
  uint64_t expected = 0, n = 0, got = 0, lost = 0, repeated = 0, reordered = 0, shown = 0;
  for (;;) {
    struct pollfd p = {.fd = s, .events = POLLIN};
    int ready = poll(&p, 1, 1000);
    if (ready == 1 && recv(s, buf, sizeof buf, 0) >= 8) {
      memcpy(&n, buf, sizeof n);
      got++;
      if (!expected) expected = n;
      if (n >= expected) {
        if (n > expected) {
          say("GAP port=%d at=%llu missing=%llu", port, (unsigned long long)expected, (unsigned long long)(n - expected));
          lost += n - expected;
          for (uint64_t i = expected; i < n && i < expected + WINDOW; i++) seen[i % WINDOW] = 0;
        }
        seen[n % WINDOW] = 1;
        expected = n + 1;
      } else if (expected - n < WINDOW && !seen[n % WINDOW]) {
        say("REORDERED port=%d number=%llu expected=%llu", port, (unsigned long long)n, (unsigned long long)expected);
        seen[n % WINDOW] = 1;
        reordered++;
        if (lost) lost--;
      } else {
        say("REPEATED port=%d number=%llu expected=%llu", port, (unsigned long long)n, (unsigned long long)expected);
        repeated++;
      }
    }
    uint64_t now = now_ns();
    if (got && now - shown >= 500000000u) {
      shown = now;
      say("RX last=%llu got=%llu lost=%llu old=%llu repeated=%llu reordered=%llu port=%d", (unsigned long long)n, (unsigned long long)got,
          (unsigned long long)lost, (unsigned long long)(repeated + reordered), (unsigned long long)repeated,
          (unsigned long long)reordered, port);
    }
  }
}

int udpseq_main(int argc, char **argv) {
  int status = 2;
  if (argc > 1 && !strcmp(argv[1], "send")) status = sender(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "recv")) status = receiver(argc, argv);
  if (status == 2) say("USAGE udpseq send IP PORT RATE [BYTES] | udpseq recv PORT");
  return status;
}
