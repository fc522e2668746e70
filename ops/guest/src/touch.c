/*
 * touch MIB [PAGES-A-SECOND]   takes MIB of memory, fills it, then goes on rewriting pages and checking what it wrote before
 *
 * Each 4 KiB page carries its number and generation in every 64-byte line, mixed so that it does not compress to nothing. A page that is
 * not what was written last is reported as MEMORY BROKEN, for good.
 */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

static uint64_t word(uint64_t page, uint64_t generation, uint64_t i) {
  uint64_t x = (page << 32) ^ (generation << 12) ^ i;
  x *= 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  return i % 2 ? x : generation; /* half of it compresses */
}

static void write_page(uint64_t *p, uint64_t page, uint64_t generation) {
  for (uint64_t i = 0; i < WORDS; i++) p[i] = word(page, generation, i);
}

static int check_page(const uint64_t *p, uint64_t page, uint64_t generation) {
  for (uint64_t i = 0; i < WORDS; i++)
    if (p[i] != word(page, generation, i)) return 0;
  return 1;
}

int touch_main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    say("USAGE touch MIB [PAGES-A-SECOND]");
    return 2;
  }
  const uint64_t pages = (uint64_t)number("mib", argv[1], 1, 1 << 20) * 256;
  const uint64_t rate = (uint64_t)(argc > 2 ? number("pages a second", argv[2], 0, 10000000) : 0);
  uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    say("MEMORY cannot-map mib=%s", argv[1]);
    return 1;
  }
  for (uint64_t i = 0; i < pages; i++) write_page(memory + i * WORDS, i, 1);
  say("MEMORY full pages=%llu", (unsigned long long)pages);
  uint64_t due = now_ns(), shown = due, done = 0;
  for (uint64_t generation = 1;; generation++) {
    for (uint64_t i = 0; i < pages; i++) {
      uint64_t *p = memory + i * WORDS;
      if (!check_page(p, i, generation)) {
        say("MEMORY BROKEN page=%llu generation=%llu", (unsigned long long)i, (unsigned long long)generation);
        return 1;
      }
      if (rate) write_page(p, i, generation + 1);
      done++;
      uint64_t slice = rate ? rate / 100 + 1 : 256; /* pages per 10 ms, or a slow check of all */
      if (done % slice == 0) {
        due += 10000000u;
        uint64_t now = now_ns();
        if (due < now) due = now;
        if (now - shown >= 1000000000u) {
          shown = now;
          say("MEMORY pages=%llu generation=%llu ok", (unsigned long long)done, (unsigned long long)generation);
        }
        sleep_until(due);
      }
    }
    if (!rate) generation--;
  }
}
