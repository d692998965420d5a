package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"switchboard/relay/natlab"
)

// doctorName is that of the namespace in which [Doctor] tries things.
const doctorName = "doctor"

// tryWithin bounds all that [Doctor] tries: a machine that is busy with other things is not
// for that one that cannot.
const tryWithin = 30 * time.Second

// Doctor tries what this machine can do, in a namespace made for that. It takes less than a
// second.
func Doctor() []Finding {
	all := []Finding{root()}
	for _, p := range []struct{ name, pkg, why string }{
		{"ip", "iproute2", "makes interfaces and routes"},
		{"nft", "nftables", "makes NATs and firewalls"},
	} {
		all = append(all, program(p.name, p.pkg, p.why, true))
	}
	all = append(all, try()...)
	for _, p := range []struct{ name, pkg, why string }{
		{"turnserver", "coturn", "answers probes of NATs"},
		{"turnutils_natdiscovery", "coturn", "is the probe that other people wrote"},
		{"chromium", "chromium", "places calls with --browser"},
		{"tcpdump", "tcpdump", "reads captures, for a person; they are made without it"},
		{"conntrack", "conntrack", "shows a router's mappings, for a person"},
	} {
		all = append(all, program(p.name, p.pkg, p.why, false))
	}
	return all
}

func root() Finding {
	f := Finding{What: "root", OK: os.Geteuid() == 0, Needed: true, Get: "run it as root, or in a container with --privileged"}
	f.Found = fmt.Sprintf("user %d", os.Geteuid())
	return f.clean()
}

func program(name, pkg, why string, needed bool) Finding {
	path, err := exec.LookPath(name)
	f := Finding{What: name, OK: err == nil, Needed: needed, Found: path + " " + why, Get: "apt-get install " + pkg + ": it " + why}
	if err != nil {
		f.Found = err.Error()
	}
	return f.clean()
}

// clean takes away what a finding has nothing to say of.
func (f Finding) clean() Finding {
	if f.OK {
		f.Get = ""
	}
	return f
}

// attempt is something that a lab does.
type attempt struct {
	what, get string
	needed    bool
	do        func(ctx context.Context, s *space) error
	found     string // if it works; "" says enough
}

var attempts = []attempt{
	{"veth and bridge", "a kernel with CONFIG_VETH and CONFIG_BRIDGE", true, func(ctx context.Context, s *space) error {
		return s.ip(ctx, batch{"link add name br type bridge", "link add name a type veth peer name b", "link set dev b master br up"})
	}, ""},
	{"checksums on veth", "a kernel whose veth knows the ioctl SIOCETHTOOL", true, func(_ context.Context, s *space) error {
		return s.finishSums()
	}, "finished, as on a wire"},
	{"nftables NAT with sets", "a kernel with CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and CONFIG_NFT_CT", true, func(ctx context.Context, s *space) error {
		return s.nft(ctx, trialRules)
	}, ""},
	{"nftables on bridges", "a kernel with CONFIG_NF_TABLES_BRIDGE: else networks cannot be cut", false, func(ctx context.Context, s *space) error {
		return s.nft(ctx, cutRules)
	}, ""},
	{"conntrack over netlink", "a kernel with CONFIG_NF_CT_NETLINK: else routers of nftables cannot reboot", false, func(_ context.Context, s *space) error {
		return s.Do(flushConnections)
	}, ""},
	{"policy routing", "a kernel with CONFIG_IP_MULTIPLE_TABLES: else there are no routers in user space", false, func(ctx context.Context, s *space) error {
		return s.ip(ctx, batch{"rule add pref 10 iif a lookup 110"})
	}, ""},
	{"TUN and TAP", "/dev/net/tun (CONFIG_TUN; in a container, --device /dev/net/tun): else there are no routers and links in user space", false, func(_ context.Context, s *space) error {
		return s.Do(func() error {
			for name, kind := range map[string]uint16{"tun": unix.IFF_TUN, "tap": unix.IFF_TAP} {
				f, err := openTUN(name, kind)
				if err != nil {
					return err
				}
				f.Close()
			}
			return nil
		})
	}, ""},
	{"token buckets", "iproute2's tc and a kernel with CONFIG_NET_SCH_TBF: else links with a rate are to be in user space", false, func(ctx context.Context, s *space) error {
		out, err := s.program(ctx, "", "tc", rateArgs("a", natlab.Link{Rate: 1_000_000})...)
		if err != nil {
			return fmt.Errorf("tc: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}, ""},
	{"nftables on devices", "a kernel with CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_EGRESS and CONFIG_NFT_NUMGEN: else links that lose are to be in user space", false, func(ctx context.Context, s *space) error {
		return s.nft(ctx, lossRules("b", 0.5))
	}, ""},
	{"IPv6", "a kernel with CONFIG_IPV6, and without ipv6.disable=1", true, func(ctx context.Context, s *space) error {
		return s.ip(ctx, batch{"addr add 2001:2::2/64 dev a nodad"})
	}, ""},
	{"capture", "a kernel with CONFIG_PACKET", false, func(_ context.Context, s *space) error {
		c, err := openCapture(s, os.DevNull)
		if err != nil {
			return err
		}
		return errors.Join(c.socket.Close(), c.file.Close())
	}, ""},
	{
		RelayingInKernel, "Linux 5.12 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT, and CAP_BPF and CAP_NET_ADMIN: else relays do it themselves, and cannot be asked for --data-path ebpf", false,
		triesRelaying, "relays take --data-path ebpf: it took the program, which did with packets what it should",
	},
}

// trialRules have what rulesets have.
const trialRules = `table inet natlab {
set seen { type ipv4_addr . inet_service . ipv4_addr; size 65536; flags dynamic,timeout; timeout 120s; }
chain forward { type filter hook forward priority 0; policy drop;
meta l4proto udp update @seen { ip saddr . udp sport . ip daddr }
ct state established,related accept
}
chain prerouting { type nat hook prerouting priority dstnat;
ip daddr 198.18.0.2 udp dport 1024-65535 dnat ip to 192.168.1.2
}
chain postrouting { type nat hook postrouting priority srcnat;
meta nfproto ipv4 masquerade fully-random
}
}
`

// try makes a namespace and makes all attempts there.
func try() []Finding {
	ctx, cancel := context.WithTimeout(context.Background(), tryWithin)
	defer cancel()
	first := Finding{What: "network namespaces", Needed: true, Get: "a kernel with CONFIG_NET_NS, and CAP_SYS_ADMIN (in a container, --privileged)"}
	start := time.Now()
	s, remove, err := trial()
	if err != nil {
		first.Found = err.Error()
		return []Finding{first}
	}
	first.OK, first.Found = true, fmt.Sprintf("made in %v", time.Since(start).Round(time.Millisecond))
	all := []Finding{first.clean()}
	for _, a := range attempts {
		err := a.do(ctx, s)
		f := Finding{What: a.what, OK: err == nil, Needed: a.needed, Found: a.found, Get: a.get}
		if err != nil {
			f.Found = err.Error()
		}
		all = append(all, f.clean())
	}
	if err := remove(); err != nil {
		all = append(all, Finding{What: "removing a namespace", Needed: true, Found: err.Error(), Get: "natlab clean"})
	}
	return all
}

// trial is a namespace for a while, with a state file for [Clean].
func trial() (*space, func() error, error) {
	st, err := newState(newID())
	if err == nil {
		err = st.write()
	}
	if err != nil {
		return nil, nil, err
	}
	gone := func() error { return os.Remove(st.path()) }
	if err := shareNetns(); err != nil {
		return nil, nil, errors.Join(err, gone())
	}
	s, err := newSpace(prefix + st.ID + "-" + doctorName)
	if err != nil {
		return nil, nil, errors.Join(err, gone())
	}
	return s, func() error { return errors.Join(s.close(), gone()) }, nil
}
