/*
 * udpseq send ADDRESS PORT RATE [BYTES]   numbered datagrams, RATE a second
 * udpseq recv PORT [GROUP]                counts what is lost, repeated or reordered
 *
 * ADDRESS: IPv4 or IPv6, unicast, multicast or broadcast; %DEVICE behind it names the way out. GROUP: a multicast group to join, with %DEVICE;
 * or :: for IPv6 without one.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

enum { MOST = 8192 };

/* A datagram: its number, then the pattern that the number stands for, whole words. */
static void fill(uint8_t *to, uint64_t n, size_t bytes) {
  put64(to, n);
  for (size_t i = 1; i < bytes / 8; i++) put64(to + 8 * i, pattern(n, i));
}

static int sender(int argc, char **argv) {
  if (argc != 5 && argc != 6) return 2;
  const int port = (int)number("port", argv[3], 1, 65535);
  const struct place to = place(argv[2], port);
  const uint64_t gap = 1000000000u / (uint64_t)number("rate", argv[4], 1, 100000);
  const size_t bytes = argc > 5 ? (size_t)number("bytes", argv[5], 8, MOST) : 256;
  static uint8_t buf[MOST];
  int s = socket(to.at.ss_family, SOCK_DGRAM, 0), on = 1, out = (int)to.device;
  setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  if (to.at.ss_family == AF_INET) {
    struct ip_mreqn way = {.imr_ifindex = out};
    setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on); /* a full queue of its own is told */
    if (out) setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &way, sizeof way);
  } else {
    setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    if (out) setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &out, sizeof out);
  }
  uint64_t due = now_ns(), shown = due;
  for (uint64_t n = 1;; n++) {
    fill(buf, n, bytes);
    /* A datagram that this host itself refuses (no route or neighbour yet) was never on the wire: the same number goes again. */
    while (sendto(s, buf, bytes, 0, (const struct sockaddr *)&to.at, to.length) < 0) {
      char told[512];
      struct msghdr m = {.msg_control = told, .msg_controllen = sizeof told};
      while (recvmsg(s, &m, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) m.msg_controllen = sizeof told;
      sleep_until(now_ns() + 10000000u);
    }
    uint64_t now = now_ns();
    if (now - shown >= 1000000000u) {
      shown = now;
      say("TX last=%llu port=%d", (unsigned long long)n, port);
    }
    keep_pace(&due, gap);
  }
}

static int join(int s, const char *group) {
  const struct place g = place(group, 0);
  if (g.at.ss_family == AF_INET) {
    struct ip_mreqn m = {.imr_multiaddr = ((const struct sockaddr_in *)&g.at)->sin_addr, .imr_ifindex = (int)g.device};
    return setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m);
  }
  struct ipv6_mreq m = {.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)&g.at)->sin6_addr, .ipv6mr_interface = g.device};
  if (IN6_IS_ADDR_UNSPECIFIED(&m.ipv6mr_multiaddr)) return 0;
  return setsockopt(s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m);
}

static int receiver(int argc, char **argv) {
  if (argc != 3 && argc != 4) return 2;
  const char *group = argc > 3 ? argv[3] : NULL;
  struct sequence seq = {.port = (int)number("port", argv[2], 1, 65535)};
  const struct place at = place(group && strchr(group, ':') ? "::" : "0.0.0.0", seq.port);
  int s = socket(at.at.ss_family, SOCK_DGRAM, 0), on = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  large_buffer(s);
  if (bind(s, (const struct sockaddr *)&at.at, at.length) || (group && join(s, group))) {
    say("RX cannot-bind port=%d errno=%d", seq.port, errno);
    return 1;
  }
  static uint8_t buf[MOST], wanted[MOST];
  for (;;) {
    struct pollfd p = {.fd = s, .events = POLLIN};
    ssize_t n;
    if (poll(&p, 1, 1000) == 1 && (n = recv(s, buf, sizeof buf, 0)) >= 8) {
      memset(wanted, 0, (size_t)n);
      fill(wanted, get64(buf), (size_t)n);
      if (memcmp(buf, wanted, (size_t)n)) say("WRONG port=%d number=%llu bytes=%zd", seq.port, (unsigned long long)get64(buf), n);
      sequence_take(&seq, get64(buf));
    }
    sequence_show(&seq);
  }
}

int udpseq_main(int argc, char **argv) {
  int status = 2;
  if (argc > 1 && !strcmp(argv[1], "send")) status = sender(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "recv")) status = receiver(argc, argv);
  if (status == 2) say("USAGE udpseq send ADDRESS PORT RATE [BYTES] | udpseq recv PORT [GROUP]");
  return status;
}
