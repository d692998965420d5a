// What relay.bpf.c takes from the kernel, and no more: how packets and the program's
// context lie in memory, numbers of calls, types and flags. None of this changes from one
// kernel to the next (it is what include/uapi/linux has of them: bpf.h, pkt_cls.h,
// if_ether.h, ip.h, ipv6.h, udp.h). Written out here, it makes the program compile to the
// same on every machine, whatever headers, C library and processor that has.

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
// In the order of the network.
typedef __u16 __be16;
typedef __u32 __be32;

// What is marked so is found by the loader, under that name.
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
// How a map is described: by types, which the loader reads.
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define NULL ((void *)0)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_ntohs(n) __builtin_bswap16(n)
#define bpf_ntohl(n) __builtin_bswap32(n)
#else
#define bpf_ntohs(n) ((__u16)(n))
#define bpf_ntohl(n) ((__u32)(n))
#endif
#define bpf_htons(n) bpf_ntohs(n)
#define bpf_htonl(n) bpf_ntohl(n)

// Types of maps, and flags.
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_F_NO_PREALLOC (1 << 0)
#define BPF_F_MMAPABLE (1 << 10)

#define BPF_ADJ_ROOM_NET 0 // room beneath the IP header

// What becomes of a packet.
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2

// __sk_buff is a packet as the program is given it. Reads of its fields become reads of
// the kernel's own, wherever those are.
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port; // not here
	__u32 data_meta;
	__u64 flow_keys; // not here
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
};

struct bpf_redir_neigh;

// Calls of the kernel, by number.
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;
static long (*const bpf_skb_change_tail)(struct __sk_buff *skb, __u32 len, __u64 flags) = (void *)38;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)39;
static long (*const bpf_csum_update)(struct __sk_buff *skb, __u32 csum) = (void *)40;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 len_diff, __u32 mode, __u64 flags) = (void *)50;
static long (*const bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *params, int plen, __u64 flags) = (void *)152;

#define ETH_ALEN 6
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_UDP 17

struct ethhdr {
	__u8 h_dest[ETH_ALEN], h_source[ETH_ALEN];
	__be16 h_proto;
} __attribute__((packed));

struct iphdr {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u8 ihl : 4, version : 4;
#else
	__u8 version : 4, ihl : 4;
#endif
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 saddr;
	__be32 daddr;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be16 u6_addr16[8];
		__be32 u6_addr32[4];
	} in6_u;
};

struct ipv6hdr {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u8 priority : 4, version : 4;
#else
	__u8 version : 4, priority : 4;
#endif
	__u8 flow_lbl[3];
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	struct in6_addr saddr;
	struct in6_addr daddr;
};

struct udphdr {
	__be16 source;
	__be16 dest;
	__be16 len;
	__u16 check;
};
