/* Entering a namespace and coming back; inside the library only. */
#ifndef HOLDFAST_NETNS_H
#define HOLDFAST_NETNS_H
int hf_enter(int netns, int *home);
void hf_leave(int home);
#endif
