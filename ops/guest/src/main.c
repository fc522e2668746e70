/* One static program with several names: ring, udpseq, bulk, ether, drops, clock, touch. See ../README.md. */
#include "guest.h"

#include <string.h>

int main(int argc, char **argv) {
  const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
  if (!strcmp(name, "ring")) return ring_main(argc, argv);
  if (!strcmp(name, "udpseq")) return udpseq_main(argc, argv);
  if (!strcmp(name, "bulk")) return bulk_main(argc, argv);
  if (!strcmp(name, "ether")) return ether_main(argc, argv);
  if (!strcmp(name, "drops")) return drops_main(argc, argv);
  if (!strcmp(name, "clock")) return clock_main(argc, argv);
  if (!strcmp(name, "touch")) return touch_main(argc, argv);
  say("USAGE unknown program '%s': ring, udpseq, bulk, ether, drops, clock or touch", name);
  return 2;
}
