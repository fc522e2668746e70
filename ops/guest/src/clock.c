/*
 * clock [HZ [REPORT-MS]]   wakes HZ times a second (default 1000) and tells the longest time between two wake-ups
 *
 * It shows what the guest feels beside the pause: while a VM is stopped its clock stands, but a write to a protected page, a starved host
 * or a slow stream makes a gap.
 */
#include "guest.h"

int clock_main(int argc, char **argv) {
  const uint64_t gap = 1000000000u / (uint64_t)(argc > 1 ? number("hz", argv[1], 1, 10000) : 1000);
  const uint64_t report = (uint64_t)(argc > 2 ? number("report-ms", argv[2], 10, 60000) : 1000) * 1000000u;
  uint64_t before = now_ns(), shown = before, worst = 0, ever = 0, ticks = 0, over10 = 0;
  for (uint64_t due = before;;) {
    due += gap;
    if (due < before) due = before + gap;
    sleep_until(due);
    uint64_t now = now_ns(), took = now - before;
    before = now;
    ticks++;
    if (took > worst) worst = took;
    if (took > ever) ever = took;
    if (took > 10000000u) over10++;
    if (now - shown >= report) {
      say("CLOCK max_us=%llu ever_us=%llu over10ms=%llu ticks=%llu", (unsigned long long)(worst / 1000), (unsigned long long)(ever / 1000),
          (unsigned long long)over10, (unsigned long long)ticks);
      shown = now;
      worst = 0;
    }
  }
}
