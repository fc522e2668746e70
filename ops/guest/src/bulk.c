/*
 * bulk send ADDRESS PORT [KIB-A-SECOND]   one TCP stream, as fast as it goes or that fast at the most
 * bulk recv PORT                          takes it and checks every byte; counts frames larger than an ordinary one that came to this VM
 *
 * The stream is words of 8 bytes, each of them made from its position: lost, repeated, reordered or changed bytes break it for good. One
 * connection, made once.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WORDS = 8192, BYTES = 8 * WORDS };

static uint8_t data[BYTES], wanted[BYTES];

_Noreturn static void broken(const char *why, int port, uint64_t at) {
  say("BULK BROKEN %s port=%d at=%llu errno=%d", why, port, (unsigned long long)at, errno);
  exit(1);
}

static void fill(uint8_t *to, uint64_t at) {
  for (uint64_t i = 0; i < WORDS; i++) put64(to + 8 * i, pattern(1, at / 8 + i));
}

static int sender(int argc, char **argv) {
  if (argc != 4 && argc != 5) return 2;
  const int port = (int)number("port", argv[3], 1, 65535);
  const struct place to = place(argv[2], port);
  const uint64_t gap = argc > 4 ? (uint64_t)BYTES * 1000000000u / 1024u / (uint64_t)number("kib-a-second", argv[4], 1, 1 << 30) : 0;
  int s;
  for (;;) {
    s = socket(to.at.ss_family, SOCK_STREAM, 0);
    if (!connect(s, (const struct sockaddr *)&to.at, to.length)) break;
    close(s);
    sleep_until(now_ns() + 200000000u);
  }
  uint64_t due = now_ns();
  for (uint64_t at = 0;; at += BYTES) {
    fill(data, at);
    for (size_t done = 0; done < BYTES;) {
      ssize_t n = send(s, data + done, BYTES - done, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) broken("send-failed", port, at + done);
      done += (size_t)n;
    }
    if (gap) keep_pace(&due, gap);
  }
}

/*
 * A socket that counts frames that came larger than an ordinary one, tagged too. The kernel's own joining of frames (GRO) is off from now on, so
 * such a frame came through the NIC as one.
 */
static int counter(void) {
  struct sock_filter code[] = {
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)}, {BPF_JMP | BPF_JEQ | BPF_K, 3, 0, PACKET_OUTGOING},
      {BPF_LD | BPF_W | BPF_LEN, 0, 0, 0},  {BPF_JMP | BPF_JGT | BPF_K, 0, 1, 1518},
      {BPF_RET | BPF_K, 0, 0, 1},           {BPF_RET | BPF_K, 0, 0, 0},
  };
  struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
  int s = socket(AF_PACKET, SOCK_RAW, 0);
  struct if_nameindex *all = if_nameindex();
  for (struct if_nameindex *i = all; i && i->if_index; i++) {
    struct ethtool_value off = {.cmd = ETHTOOL_SGRO};
    struct ifreq q = {.ifr_data = (char *)&off};
    strncpy(q.ifr_name, i->if_name, IFNAMSIZ - 1);
    if (strcmp(i->if_name, "lo") && ioctl(s, SIOCETHTOOL, &q)) say("USAGE GRO of %s stays on errno=%d", i->if_name, errno);
  }
  if_freenameindex(all);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
  return bind(s, (struct sockaddr *)&at, sizeof at) ? -1 : s;
}

/* How many came since it was asked last, whether there was room for them or not. */
static uint64_t counted(int s) {
  struct tpacket_stats n = {0};
  socklen_t size = sizeof n;
  return getsockopt(s, SOL_PACKET, PACKET_STATISTICS, &n, &size) ? 0 : n.tp_packets;
}

static int receiver(int argc, char **argv) {
  if (argc != 3) return 2;
  const int port = (int)number("port", argv[2], 1, 65535);
  const struct place at = place("::", port); /* IPv4 comes here too */
  int listener = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (const struct sockaddr *)&at.at, at.length) || listen(listener, 1)) broken("cannot-listen", port, 0);
  int s = accept(listener, NULL, NULL);
  close(listener);
  int large = counter();
  uint64_t shown = 0, larges = 0;
  for (uint64_t position = 0;; position += BYTES) {
    fill(wanted, position);
    for (size_t done = 0; done < BYTES;) {
      ssize_t n = recv(s, data + done, BYTES - done, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) broken(n ? "receive-failed" : "connection-closed", port, position + done);
      if (memcmp(data + done, wanted + done, (size_t)n)) broken("wrong-bytes", port, position + done);
      done += (size_t)n;
    }
    if (now_ns() - shown >= 500000000u) {
      shown = now_ns();
      larges += counted(large);
      say("BULK got=%llu ok port=%d large=%llu", (unsigned long long)(position + BYTES), port, (unsigned long long)larges);
    }
  }
}

int bulk_main(int argc, char **argv) {
  int status = 2;
  if (argc > 1 && !strcmp(argv[1], "send")) status = sender(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "recv")) status = receiver(argc, argv);
  if (status == 2) say("USAGE bulk send ADDRESS PORT [KIB-A-SECOND] | bulk recv PORT");
  return status;
}
