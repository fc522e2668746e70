#include "guest.h"

#include <stdlib.h>

enum { WINDOW = 1 << 16 }; /* how far back a number can be told to be repeated or reordered */

void sequence_take(struct sequence *s, uint64_t n) {
  if (!s->seen && !(s->seen = calloc(1, WINDOW))) {
    say("USAGE no memory");
    exit(1);
  }
  s->got++;
  s->last = n;
  if (!s->expected) s->expected = n;
  if (n >= s->expected) {
    if (n > s->expected) {
      say("GAP port=%d at=%llu missing=%llu", s->port, (unsigned long long)s->expected, (unsigned long long)(n - s->expected));
      s->lost += n - s->expected;
      for (uint64_t i = s->expected; i < n && i < s->expected + WINDOW; i++) s->seen[i % WINDOW] = 0;
    }
    s->seen[n % WINDOW] = 1;
    s->expected = n + 1;
  } else if (s->expected - n < WINDOW && !s->seen[n % WINDOW]) {
    say("REORDERED port=%d number=%llu expected=%llu", s->port, (unsigned long long)n, (unsigned long long)s->expected);
    s->seen[n % WINDOW] = 1;
    s->reordered++;
    if (s->lost) s->lost--;
  } else {
    say("REPEATED port=%d number=%llu expected=%llu", s->port, (unsigned long long)n, (unsigned long long)s->expected);
    s->repeated++;
  }
}

void sequence_show(struct sequence *s) {
  uint64_t now = now_ns();
  if (!s->got || now - s->shown < 500000000u) return;
  s->shown = now;
  say("RX last=%llu got=%llu lost=%llu old=%llu repeated=%llu reordered=%llu port=%d", (unsigned long long)s->last,
      (unsigned long long)s->got, (unsigned long long)s->lost, (unsigned long long)(s->repeated + s->reordered),
      (unsigned long long)s->repeated, (unsigned long long)s->reordered, s->port);
}
