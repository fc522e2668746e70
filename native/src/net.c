/* TAPs, packet sockets, link counters: the parts of a network namespace that we hold by descriptors. */
#define _GNU_SOURCE
#include "fault.h"
#include "holdfast.h"
#include "netns.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define VNET_HDR 12
#define VNET_HDR_PACKET 10

int hf_enter(int netns, int *home)
{
	*home = -1;
	if (netns < 0)
		return 0;
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (setns(netns, CLONE_NEWNET) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	*home = fd;
	return 0;
}

void hf_leave(int home)
{
	if (home < 0)
		return;
	if (setns(home, CLONE_NEWNET) < 0)
		abort(); /* a thread of the JVM must never go on in another namespace */
	close(home);
}

int hf_netns_open(const char *name)
{
	char path[300];
	if (strchr(name, '/') || snprintf(path, sizeof path, "/run/netns/%s", name) >= (int)sizeof path)
		return -EINVAL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int hf_sysctl(int netns, const char *name, const char *value)
{
	char path[300];
	if (strstr(name, "..") || snprintf(path, sizeof path, "/proc/sys/%s", name) >= (int)sizeof path)
		return -EINVAL;
	int home, r = hf_enter(netns, &home);
	if (r < 0)
		return r;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	hf_leave(home);
	return r;
}

int hf_tap_create(int netns, const char *name, int offload)
{
	struct ifreq q = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	if (strlen(name) >= IFNAMSIZ)
		return -ENAMETOOLONG;
	strcpy(q.ifr_name, name);
	int home, r = hf_enter(netns, &home);
	if (r < 0)
		return r;
	int size = VNET_HDR, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &q) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    (offload >= 0 && ioctl(fd, TUNSETOFFLOAD, offload) < 0))
		r = -errno;
	if (r < 0 && fd >= 0)
		close(fd);
	hf_leave(home);
	return r < 0 ? r : fd;
}

int hf_tap_header(int fd)
{
	int size = 0;
	return ioctl(fd, TUNGETVNETHDRSZ, &size) < 0 ? -errno : size;
}

int hf_ifindex(int netns, const char *name)
{
	int home, r = hf_enter(netns, &home);
	if (r < 0)
		return r;
	unsigned i = if_nametoindex(name);
	r = i ? (int)i : -errno;
	hf_leave(home);
	return r;
}

int hf_rtnl_open(int netns)
{
	int home, r = hf_enter(netns, &home);
	if (r < 0)
		return r;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	r = fd < 0 ? -errno : fd;
	hf_leave(home);
	return r;
}

int hf_link_counters(int rtnl, int ifindex, uint64_t out[2])
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = {.h = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
	       .i = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex}};
	char room[32768] __attribute__((aligned(8)));
	ssize_t n;
	int fault = hf_fault_at(HF_AT_COUNTERS);
	if (fault < 0)
		return fault;
	do
		n = send(rtnl, &q, sizeof q, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	do
		n = recv(rtnl, room, sizeof room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	struct nlmsghdr *h = (struct nlmsghdr *)room;
	if (!NLMSG_OK(h, (unsigned)n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg)));
	for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(h)); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_STATS64 && RTA_PAYLOAD(a) >= 8 * sizeof(uint64_t)) {
			uint64_t s[8]; /* rx_packets, tx_packets, bytes and errors of both, rx_dropped, tx_dropped */
			memcpy(s, RTA_DATA(a), sizeof s);
			out[0] = s[1];
			out[1] = s[7];
			return 0;
		}
	return -EPROTO;
}

int hf_packet_open(int netns, int ifindex, int protocol, int vnet, uint32_t mark)
{
	int home, r = hf_enter(netns, &home);
	if (r < 0)
		return r;
	/* Opened with protocol 0, so that nothing arrives before it is bound. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = ifindex, .sll_protocol = htons((uint16_t)protocol)};
	if (fd < 0 || (vnet && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet, sizeof vnet) < 0) ||
	    (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) ||
	    bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		close(fd);
	hf_leave(home);
	return r < 0 ? r : fd;
}

long hf_packet_send(int fd, const void *frame, size_t len)
{
	ssize_t r;
	int fault = fd < 0 ? 0 : hf_fault_at(HF_AT_COOKIE);
	if (fault < 0)
		return fault;
	do
		r = send(fd, frame, len, 0);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

long hf_inject(int fd, const void *frame, size_t len)
{
	if (len < VNET_HDR + ETH_HLEN)
		return -EINVAL;
	int fault = hf_fault_at(HF_AT_INJECT);
	if (fault < 0)
		return fault;
	char *f = (char *)(uintptr_t)frame;
	struct iovec v[2] = {{f, VNET_HDR_PACKET}, {f + VNET_HDR, len - VNET_HDR}};
	ssize_t r;
	do
		r = writev(fd, v, 2);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}
