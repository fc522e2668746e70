/* Tests of libholdfast. What needs root or a device and cannot run says NOT TESTED. */
#define _GNU_SOURCE
#include "holdfast.h"
#include <stdio.h>
int main(void) { printf("native tests: none yet\n"); return 0; }
