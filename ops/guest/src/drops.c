/*
 * drops [SECONDS]   tells what this guest itself has dropped: sockets, its kernel's queues, its devices
 *
 * All zeros but for what the guest lost by its own doing; Holdfast has no part in these.
 */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value under a name in /proc/net/snmp or snmp6. */
static uint64_t udp(const char *file, const char *row, const char *name) {
  FILE *f = fopen(file, "r");
  char names[1024], values[1024];
  uint64_t sum = 0;
  while (f && fgets(names, sizeof names, f)) {
    if (!row) { /* snmp6: a name and a value each line */
      char word[64];
      unsigned long long v;
      if (sscanf(names, "%63s %llu", word, &v) == 2 && !strcmp(word, name)) sum += v;
    } else if (!strncmp(names, row, strlen(row)) && fgets(values, sizeof values, f)) {
      char *a, *b, *x = strtok_r(names, " \n", &a), *y = strtok_r(values, " \n", &b);
      for (; x && y; x = strtok_r(NULL, " \n", &a), y = strtok_r(NULL, " \n", &b))
        if (!strcmp(x, name)) sum += strtoull(y, NULL, 10);
    }
  }
  if (f) fclose(f);
  return sum;
}

/* Column of a table of hexadecimal (softnet) or decimal (net/dev) numbers, summed over its lines. */
static uint64_t column(const char *file, int skip, int which, int base) {
  FILE *f = fopen(file, "r");
  char line[1024];
  uint64_t sum = 0;
  for (int i = 0; f && fgets(line, sizeof line, f); i++) {
    if (i < skip) continue;
    char *at, *colon = strchr(line, ':'), *word = strtok_r(colon ? colon + 1 : line, " \n", &at);
    for (int c = 0; word && c < which; c++) word = strtok_r(NULL, " \n", &at);
    if (word) sum += strtoull(word, NULL, base);
  }
  if (f) fclose(f);
  return sum;
}

int drops_main(int argc, char **argv) {
  const uint64_t gap = (uint64_t)(argc > 1 ? number("seconds", argv[1], 1, 3600) : 2) * 1000000000u;
  uint64_t due = now_ns();
  for (;;) {
    say("DROPS sockets=%llu sends=%llu softnet=%llu devices_in=%llu devices_out=%llu",
        (unsigned long long)(udp("/proc/net/snmp", "Udp:", "RcvbufErrors") + udp("/proc/net/snmp6", NULL, "Udp6RcvbufErrors") +
                             udp("/proc/net/snmp", "Udp:", "MemErrors")),
        (unsigned long long)(udp("/proc/net/snmp", "Udp:", "SndbufErrors") + udp("/proc/net/snmp6", NULL, "Udp6SndbufErrors")),
        (unsigned long long)column("/proc/net/softnet_stat", 0, 1, 16), (unsigned long long)column("/proc/net/dev", 2, 3, 10),
        (unsigned long long)column("/proc/net/dev", 2, 11, 10));
    keep_pace(&due, gap);
  }
}
