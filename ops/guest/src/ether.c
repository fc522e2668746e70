/*
 * ether send DEVICE ID RATE   numbered broadcast frames of EtherType 0x88B5 in several forms, RATE a second
 * ether recv DEVICE ID        checks that they come exactly as they were sent, and that no other frame of that type comes
 *
 * 0x88B5 is the type of Holdfast's cookies. No guest can know a cookie's nonce; whatever else has that type is an ordinary frame. Forms, by
 * number modulo 6:
 *
 *   0  a signature at once, 12 bytes: shorter than a nonce
 *   1  a signature, then 1400 pseudo-random bytes
 *   2  a cookie in every byte but its nonce, which is pseudo-random: stopped, of host h1
 *   3  the same: captured, of host h2
 *   4  the same: failed, of host h3
 *   5  a cookie with a nonce of zeros
 *
 * A look-alike's source address is a host's as well. The signature (in the look-alikes behind their 96 bytes): "HFG", ID as a byte, the number as 8
 * bytes. A frame without one was not sent by a guest: COOKIE SEEN.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE = 0x88B5, HEAD = 14, SIGNATURE = 12, COOKIE = 96, FORMS = 6, MOST = HEAD + SIGNATURE + 1400 };

static size_t sign(uint8_t *p, uint8_t id, uint64_t n) {
  memcpy(p, "HFG", 3);
  p[3] = id;
  put64(p + 4, n);
  return SIGNATURE;
}

/* Writes the frame of that number; its length. */
static size_t frame(uint8_t *f, uint8_t id, uint64_t n) {
  const unsigned form = (unsigned)(n % FORMS);
  memset(f, 0xff, 6);
  memcpy(f + 6, "\x52\x54\x00\x88\xb5", 5);
  f[11] = id;
  f[12] = TYPE >> 8;
  f[13] = TYPE & 255;
  if (form < 2) {
    size_t at = HEAD + sign(f + HEAD, id, n);
    for (unsigned i = 0; form == 1 && i < 175; i++, at += 8) put64(f + at, pattern(n, i));
    return at;
  }
  memset(f + HEAD, 0, COOKIE - HEAD);
  if (form < 5) {
    put64(f + HEAD, pattern(n, 0));
    put64(f + HEAD + 8, pattern(n, 1));
  }
  const uint8_t host = (uint8_t)(form < 5 ? form - 2 : 0);
  f[30] = 1;
  f[31] = (uint8_t)(host + 1);
  f[35] = (uint8_t)n;
  f[36] = 2;
  f[37] = 'h';
  f[38] = (uint8_t)('1' + host);
  uint8_t hash[32];
  sha256(f + 37, 2, hash);
  memcpy(f + 6, "\x02HF", 3);
  memcpy(f + 9, hash, 3);
  return COOKIE + sign(f + COOKIE, id, n);
}

static int opened(const char *device) {
  unsigned index = 0;
  while (!(index = if_nametoindex(device))) sleep_until(now_ns() + 100000000u);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = (int)index};
  int s = socket(AF_PACKET, SOCK_RAW, 0);
  large_buffer(s);
  if (s < 0 || bind(s, (const struct sockaddr *)&at, sizeof at)) {
    say("USAGE no packet socket on %s errno=%d", device, errno);
    exit(1);
  }
  return s;
}

_Noreturn static void sender(const char *device, uint8_t id, uint64_t rate) {
  static uint8_t f[MOST];
  int s = opened(device);
  uint64_t due = now_ns();
  for (uint64_t n = 1;; n++) {
    size_t length = frame(f, id, n);
    while (send(s, f, length, 0) < 0) sleep_until(now_ns() + 10000000u);
    keep_pace(&due, 1000000000u / rate);
  }
}

_Noreturn static void receiver(const char *device, uint8_t id) {
  static uint8_t f[9000], wanted[MOST];
  struct sequence seq = {.port = id};
  int s = opened(device);
  uint64_t cookies = 0;
  for (;;) {
    struct pollfd p = {.fd = s, .events = POLLIN};
    struct sockaddr_ll from;
    socklen_t room = sizeof from;
    ssize_t n;
    if (poll(&p, 1, 1000) == 1 && (n = recvfrom(s, f, sizeof f, 0, (struct sockaddr *)&from, &room)) >= HEAD &&
        from.sll_pkttype != PACKET_OUTGOING) {
      const uint8_t *sign = NULL;
      for (size_t at = HEAD; at <= COOKIE && !sign; at += COOKIE - HEAD)
        if ((size_t)n >= at + SIGNATURE && !memcmp(f + at, "HFG", 3)) sign = f + at;
      if (!sign) {
        say("COOKIE SEEN device=%s count=%llu bytes=%zd", device, (unsigned long long)++cookies, n);
      } else if (sign[3] == id) {
        uint64_t number = get64(sign + 4);
        size_t length = frame(wanted, id, number), same = length <= (size_t)n && !memcmp(f, wanted, length);
        for (size_t at = length; same && at < (size_t)n; at++) same = n <= 60 && !f[at]; /* padded to the shortest frame */
        if (!same) say("WRONG port=%d number=%llu bytes=%zd", id, (unsigned long long)number, n);
        sequence_take(&seq, number);
      }
    }
    sequence_show(&seq);
  }
}

int ether_main(int argc, char **argv) {
  if (argc == 5 && !strcmp(argv[1], "send"))
    sender(argv[2], (uint8_t)number("id", argv[3], 1, 255), (uint64_t)number("rate", argv[4], 1, 10000));
  if (argc == 4 && !strcmp(argv[1], "recv")) receiver(argv[2], (uint8_t)number("id", argv[3], 1, 255));
  say("USAGE ether send DEVICE ID RATE | ether recv DEVICE ID");
  return 2;
}
