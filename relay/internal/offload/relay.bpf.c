//go:build ignore

// The relay's data path in the kernel: what clients send in channels becomes UDP from
// their relayed address to the peer, and what the peer sends comes back in the channel
// (RFC 8656 sections 12.5 and 12.6). It runs where packets come in from an Ethernet
// interface, before the sockets. All that it is not sure of it leaves to them, unchanged.
//
// Sums of the Internet checksum are of 16-bit numbers as they are read by people, kept in
// 64 bits and folded at the end (RFC 1624).

#include <stdbool.h>

#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define CHANNEL_HEADER 4
#define MIN_CHANNEL 0x4000
#define MAX_CHANNEL 0x4fff
#define MAX_PAYLOAD 1596 // as user space has it: a message of 1600 bytes
#define MORE_FRAGMENTS 0x2000
#define FRAGMENT_OFFSET 0x1fff
#define SECOND 1000000000ULL
#define BURST (SECOND / 2) // how far ahead of its rate a meter lets through

// Set before the program is loaded.
volatile const __u16 listen_port; // of the clients' listener
volatile const __u64 clock_ahead; // the relay's clock is so many ns ahead of the kernel's

// key is by whom a packet was sent, and to whom, all in the order of the network.
// Addresses of IPv4 are mapped to IPv6.
struct key {
	__be32 source[4], destination[4];
	__be16 source_port, destination_port;
	__be16 channel; // 0 from peers
	__be16 protocol; // of Ethernet
};

// target is what a packet becomes.
struct target {
	__be32 source[4], destination[4];
	__be16 source_port, destination_port;
	__be16 channel; // that it goes in, or 0 for none
	__u16 udp_fix; // what addresses and ports add to the sum of UDP, beyond those that they replace
	__u16 ip_fix;  // and of the IPv4 header
	__u16 unused;
	__u32 way;
};

// way is one direction of a flow. It is in memory that is shared with user space, which
// writes the first five, as this program writes the rest.
struct way {
	__u64 until; // on the relay's clock; it ends then, unless that is put off
	__u32 interface; // that its packets go out through
	__u32 mtu; // bytes of an IP packet
	__u32 own, user; // its meters, 0 for none
	__u64 media; // when the last packet went that was not STUN
	__u64 packets, bytes; // relayed; bytes of payload
	__u64 dropped; // beyond the bandwidth
	__u64 unused; // so that no two are in one line of a cache
};

// meter is a bucket of bytes as in user space, which shares it: the time at which it will be full.
struct meter {
	__u64 full; // ns on the relay's clock
	__u64 per_second; // bytes; 0 is no bound
};

// Meters of all that the relay carries.
#define METER_UP 1
#define METER_DOWN 2

// Why packets of a flow are left to user space.
enum left {
	LEFT_ENDED, // the flow's time is over
	LEFT_LONG, // longer than the way out takes
	LEFT_JOINED, // several that were joined
	LEFT_UNSUMMED, // the checksum is to be made by whoever sends it on
	LEFT_CONTENDED, // a meter that others change all the time
	LEFT_ROOM, // the kernel did not make room
	LEFT_TORN, // dropped instead: the kernel failed when the packet was changed already
	LEFTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct target);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meter);
} meters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LEFTS);
	__type(key, __u32);
	__type(value, __u64);
} left_counts SEC(".maps");

// word puts together what lies in memory one after the other, of 32 bits each. All that is
// on the stack is written in whole words: the verifier of Linux 6.1 refuses to those who have no
// CAP_PERFMON that a part of one is overwritten, since it might have been a pointer.
static __always_inline __u64 word(__u32 first, __u32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u64)second << 32;
#else
	return (__u64)first << 32 | second;
#endif
}

// half is the same of 16 bits each.
static __always_inline __u32 half(__u16 first, __u16 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u32)second << 16;
#else
	return (__u32)first << 16 | second;
#endif
}

static __always_inline int leave(enum left why)
{
	__u64 index = word(why, 0);
	__u64 *count = bpf_map_lookup_elem(&left_counts, &index);

	if (count)
		(*count)++;
	return why == LEFT_TORN ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// minus is what takes a 16-bit number out of a sum.
static __always_inline __u64 minus(__u16 n)
{
	return (__u16)~n;
}

// sum_of adds the 16-bit numbers of a 32-bit one.
static __always_inline __u64 sum_of(__be32 n)
{
	__u32 host = bpf_ntohl(n);

	return (host >> 16) + (host & 0xffff);
}

enum taken { TAKEN, EMPTY, CONTENDED };

// take takes bytes from a meter.
static __always_inline enum taken take(__u32 index, __u64 bytes, __u64 now)
{
	struct meter *m;
	__u64 key = word(index, 0), cost, full, next, seen;
	int i;

	if (!index)
		return TAKEN;
	m = bpf_map_lookup_elem(&meters, &key);
	if (!m || !m->per_second)
		return TAKEN;
	cost = bytes * SECOND / m->per_second;
	full = *(volatile __u64 *)&m->full;
#pragma unroll
	for (i = 0; i < 4; i++) {
		next = (full > now ? full : now) + cost;
		if (next - now > BURST)
			return EMPTY;
		seen = __sync_val_compare_and_swap(&m->full, full, next);
		if (seen == full)
			return TAKEN;
		full = seen;
	}
	return CONTENDED;
}

// parsed is what was found in a packet. The compiler keeps it in registers and, in whole
// words, where those do not suffice.
struct parsed {
	__u64 network; // bytes of the IP header
	__u64 total; // of the IP packet, as its header says
	__u64 udp; // of UDP, header and all
	__u64 pseudo; // the sum of the pseudo header
	__u64 checksum;
	__u64 hops; // left
	__u64 head; // what UDP carries begins with, or 0 if that is less
	__u64 source_port, destination_port, protocol; // in the order of the network
};

#define KEY_WORDS (sizeof(struct key) / sizeof(__u64))

#define ALL_HEADERS (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr) + CHANNEL_HEADER + 1)

// parse reads a packet, and reports whether it is one of UDP that is whole and plain. Of
// its key it writes the addresses.
static __always_inline bool parse(struct __sk_buff *skb, struct parsed *p, __u64 *key)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct udphdr *udp;
	__be32 *head;

	if ((void *)(eth + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->version != 4 || ip->protocol != IPPROTO_UDP)
			return false;
		if (ip->frag_off & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET))
			return false;
		p->network = sizeof(*ip);
		p->total = bpf_ntohs(ip->tot_len);
		p->hops = ip->ttl;
		key[0] = key[2] = 0;
		key[1] = word(bpf_htonl(0xffff), ip->saddr);
		key[3] = word(bpf_htonl(0xffff), ip->daddr);
		p->pseudo = sum_of(ip->saddr) + sum_of(ip->daddr) + IPPROTO_UDP;
		udp = (void *)(ip + 1);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);
		int i;

		if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
			return false;
		p->network = sizeof(*ip);
		p->total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		p->hops = ip->hop_limit;
		p->pseudo = IPPROTO_UDP;
#pragma unroll
		for (i = 0; i < 4; i++) {
			__be32 *addr = i < 2 ? ip->saddr.in6_u.u6_addr32 : ip->daddr.in6_u.u6_addr32;
			__be32 first = addr[i % 2 * 2], second = addr[i % 2 * 2 + 1];

			key[i] = word(first, second);
			p->pseudo += sum_of(first) + sum_of(second);
		}
		udp = (void *)(ip + 1);
	} else {
		return false;
	}
	if ((void *)(udp + 1) > end)
		return false;
	p->protocol = eth->h_proto;
	p->source_port = udp->source;
	p->destination_port = udp->dest;
	p->udp = bpf_ntohs(udp->len);
	p->pseudo += p->udp;
	p->checksum = bpf_ntohs(udp->check);
	if (p->udp < sizeof(*udp) || p->udp != p->total - p->network || ETH_HLEN + p->total > skb->len)
		return false;
	head = (void *)(udp + 1);
	p->head = (void *)(head + 1) <= end ? bpf_ntohl(*head) : 0;
	return true;
}

// is_media reports whether a payload is no STUN (RFC 7983 section 7).
static __always_inline bool is_media(const __u8 *payload, void *end)
{
	return (void *)(payload + 1) <= end && *payload > 3;
}

SEC("tc")
int relay(struct __sk_buff *skb)
{
	struct parsed p;
	struct target *t;
	struct way *w;
	__u64 key[KEY_WORDS], now, length, sum, whole;
	__u64 payload, padding = 0, total, channel = 0;
	__s64 grows;
	bool up, media;

	if (skb->pkt_type != 0 /* PACKET_HOST */ || skb->vlan_present)
		return TC_ACT_UNSPEC;
	// Compared, not subtracted: the verifier lets nobody see where memory is who may not.
	if ((void *)(long)skb->data + ALL_HEADERS > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, skb->len < ALL_HEADERS ? skb->len : ALL_HEADERS);
	if (!parse(skb, &p, key))
		return TC_ACT_UNSPEC;
	payload = p.udp - sizeof(struct udphdr);
	up = p.destination_port == bpf_htons(listen_port);
	if (up) {
		channel = p.head >> 16;
		if (payload < CHANNEL_HEADER || channel < MIN_CHANNEL || channel > MAX_CHANNEL)
			return TC_ACT_UNSPEC;
		payload -= CHANNEL_HEADER;
		padding = payload - (__u16)p.head;
		if (padding > payload || padding > (-(payload - padding) & 3))
			return TC_ACT_UNSPEC;
		payload -= padding;
	}
	key[4] = word(half(p.source_port, p.destination_port), half(bpf_htons(channel), p.protocol));
	t = bpf_map_lookup_elem(&flows, key);
	if (!t)
		return TC_ACT_UNSPEC;
	w = bpf_map_lookup_elem(&ways, &t->way);
	if (!w)
		return TC_ACT_UNSPEC;
	now = bpf_ktime_get_ns() + clock_ahead;
	if (now >= *(volatile __u64 *)&w->until)
		return leave(LEFT_ENDED);
	grows = up ? -CHANNEL_HEADER : CHANNEL_HEADER;
	total = p.total + grows - padding;
	if (total > w->mtu || payload > MAX_PAYLOAD)
		return leave(LEFT_LONG);
	if (skb->gso_size)
		return leave(LEFT_JOINED);
	// One hop is left where a packet has gone round in circles, or somebody traces it.
	if (p.hops <= 1)
		return TC_ACT_UNSPEC;
	// What is to be made by whoever sends the packet on is the rest of a checksum whose
	// field has the sum of the pseudo header. One in 65,536 that are complete looks alike.
	if (p.checksum == 0 && p.protocol == bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (p.checksum != 0 && p.checksum == fold(p.pseudo))
		return leave(LEFT_UNSUMMED);

	// Only now the bandwidth, which others would lack if it were taken and not used.
	{
		enum taken own = take(w->own, payload, now), user = TAKEN, all = TAKEN;

		if (own == TAKEN)
			user = take(w->user, payload, now);
		if (own == TAKEN && user == TAKEN)
			all = take(up ? METER_UP : METER_DOWN, payload, now);
		if (own == CONTENDED || user == CONTENDED || all == CONTENDED)
			return leave(LEFT_CONTENDED);
		if (own == EMPTY || user == EMPTY || all == EMPTY) {
			__sync_fetch_and_add(&w->dropped, 1);
			return TC_ACT_SHOT;
		}
	}

	length = minus(p.udp) + (__u16)(total - p.network);
	sum = minus(p.checksum) + t->udp_fix + 2 * length;
	if (up) {
		sum += minus(channel) + minus(p.head);
		if (padding) {
			__u32 at = ETH_HLEN + p.network + sizeof(struct udphdr) + CHANNEL_HEADER + payload;
			__u64 rest = 0;
			__u8 *tail = (__u8 *)&rest;

			// What is not there is 0 in the sum.
			bpf_skb_load_bytes(skb, at, tail, 1);
			if (padding > 1)
				bpf_skb_load_bytes(skb, at + 1, tail + 1, 1);
			if (padding > 2)
				bpf_skb_load_bytes(skb, at + 2, tail + 2, 1);
			if (payload & 1) // the first of them is the second half of a number
				sum += minus(tail[0]) + minus(tail[1] << 8 | tail[2]);
			else
				sum += minus(tail[0] << 8 | tail[1]) + minus(tail[2] << 8);
		}
	} else {
		sum += bpf_ntohs(t->channel) + payload;
	}

	// What is added to the sum of the whole IP packet, with which some network cards receive
	// it, and with which the kernel gives it to a container on this machine. The checksums
	// see to it that little changes: that of UDP makes up for what is not in the packet
	// itself, the pseudo header. Behind the IP header, adjust_room takes out what it
	// removes, the ports.
	whole = up ? bpf_ntohs(p.source_port) + bpf_ntohs(p.destination_port) : 0;

	if (bpf_skb_adjust_room(skb, grows, BPF_ADJ_ROOM_NET, 0))
		return leave(LEFT_ROOM);
	if (skb->len > ETH_HLEN + total && bpf_skb_change_tail(skb, ETH_HLEN + total, 0))
		return leave(LEFT_TORN);

	{
		void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
		struct udphdr *udp;

		if (p.protocol == bpf_htons(ETH_P_IP)) {
			struct iphdr *ip = data + ETH_HLEN;
			__u64 header;

			udp = (void *)(ip + 1);
			if ((void *)(udp + 1) > end)
				return leave(LEFT_TORN);
			whole += minus(t->ip_fix) + minus(fold(length)) + (p.checksum ? 0 : sum);
			header = minus(bpf_ntohs(ip->check)) + t->ip_fix;
			header += minus(bpf_ntohs(ip->tot_len)) + total;
			header += minus(ip->ttl << 8) + ((ip->ttl - 1) << 8);
			ip->tot_len = bpf_htons(total);
			ip->ttl--;
			ip->saddr = t->source[3];
			ip->daddr = t->destination[3];
			ip->check = bpf_htons((__u16)~fold(header));
		} else {
			struct ipv6hdr *ip = data + ETH_HLEN;

			udp = (void *)(ip + 1);
			if ((void *)(udp + 1) > end)
				return leave(LEFT_TORN);
			whole += minus(1) + minus(ip->flow_lbl[0] & 0xf) + minus(ip->flow_lbl[1] << 8 | ip->flow_lbl[2]);
			ip->payload_len = bpf_htons(total - sizeof(*ip));
			ip->hop_limit--;
			ip->flow_lbl[0] &= 0xf0;
			ip->flow_lbl[1] = ip->flow_lbl[2] = 0;
			__builtin_memcpy(&ip->saddr, t->source, sizeof(ip->saddr));
			__builtin_memcpy(&ip->daddr, t->destination, sizeof(ip->daddr));
		}
		udp->source = t->source_port;
		udp->dest = t->destination_port;
		udp->len = bpf_htons(total - p.network);
		if (p.checksum) {
			__u16 checksum = ~fold(sum);

			udp->check = checksum ? bpf_htons(checksum) : 0xffff;
		} else {
			udp->check = 0;
		}
		if (up) {
			media = payload && is_media((void *)(udp + 1), end);
		} else {
			__be16 *header = (void *)(udp + 1);

			if ((void *)(header + 2) > end)
				return leave(LEFT_TORN);
			header[0] = t->channel;
			header[1] = bpf_htons(payload);
			media = payload && is_media((void *)(header + 2), end);
		}
	}
	bpf_csum_update(skb, bpf_htons(fold(whole)));

	__sync_fetch_and_add(&w->packets, 1);
	__sync_fetch_and_add(&w->bytes, payload);
	if (media)
		*(volatile __u64 *)&w->media = now;
	return bpf_redirect_neigh(w->interface, NULL, 0, 0);
}
