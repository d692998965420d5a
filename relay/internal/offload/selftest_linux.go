package offload

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

// What the program says of a packet (linux/pkt_cls.h).
const (
	actUnspec   = 0xffffffff // it is for whoever comes next
	actShot     = 2
	actRedirect = 7
)

// trials are flows that the program is tried with, between addresses that nobody has
// (RFC 5737, RFC 3849).
func trials(port uint16) []Ends {
	at := func(a string, port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), port) }
	return []Ends{
		{at("192.0.2.1", 50001), at("198.51.100.1", port), at("198.51.100.1", 50002), at("203.0.113.1", 50003), 0x4000},
		{at("2001:db8::1", 50001), at("2001:db8:1::1", port), at("2001:db8:1::1", 50002), at("2001:db8:2::1", 50003), 0x4fff},
	}
}

// test runs packets through the program in the kernel, before it is attached, and fails if
// they do not become what they should.
func (p *Path) test(port uint16) (err error) {
	for _, e := range trials(port) {
		f, failed := p.install(e, [2]Meters{}, [2]route{{1, 1500}, {1, 1500}})
		if failed != nil {
			return failed
		}
		err = errors.Join(err, p.testFlow(e, f))
		p.ways[f.way+up], p.ways[f.way+down] = programWay{}, programWay{} // it was no traffic
		p.Remove(f)
		p.resting[len(p.resting)-1].since = time.Time{} // the program is attached nowhere, so nobody uses it
	}
	zero := make([]uint64, ebpf.MustPossibleCPU())
	for i := range Lefts {
		err = errors.Join(err, p.counts.Put(uint32(i), zero))
	}
	return err
}

func (p *Path) testFlow(e Ends, f *Flow) error {
	payload := []byte{0x80, 1, 2, 3, 4, 5, 6} // of odd length, and no STUN
	sent := frame{from: e.Client, to: e.Listener, payload: data(e.Channel, payload), hops: 63, class: 0xb9, summed: true}
	relayed := frame{from: e.Relay, to: e.Peer, payload: payload, hops: 62, class: 0xb9, summed: true}
	if err := p.try("before it begins", sent, actUnspec, sent); err != nil {
		return err
	}
	f.Extend(p.clock()+int64(time.Minute), true)
	if err := p.try("up", sent, actRedirect, relayed); err != nil {
		return err
	}
	sent.from, sent.to, relayed.from, relayed.to = e.Peer, e.Relay, e.Listener, e.Client
	sent.payload, relayed.payload = relayed.payload, sent.payload
	if err := p.try("down", sent, actRedirect, relayed); err != nil {
		return err
	}
	f.End()
	if err := p.try("at its end", sent, actUnspec, sent); err != nil {
		return err
	}
	for i, name := range []string{"up", "down"} {
		if got, want := p.traffic(f.way+uint32(i)), (Traffic{Packets: 1, Bytes: uint64(len(payload))}); got != want {
			return fmt.Errorf("%s: counted %+v, want %+v", name, got, want)
		}
	}
	return nil
}

// try runs a packet through the program.
func (p *Path) try(what string, sent frame, action uint32, want frame) error {
	got, said, err := p.run(sent.bytes())
	if err != nil {
		return err
	}
	if said != action || !bytes.Equal(got, want.bytes()) {
		return fmt.Errorf("%s: %d, %x, want %d, %x", what, int32(said), got, int32(action), want.bytes())
	}
	return nil
}

// run returns what becomes of a frame, and what the program says of it.
func (p *Path) run(b []byte) (out []byte, action uint32, err error) {
	o := ebpf.RunOptions{Data: b, DataOut: make([]byte, len(b)+64)}
	action, err = p.program.Run(&o)
	if err != nil {
		return nil, 0, fmt.Errorf("offload: %w", err)
	}
	return o.DataOut, action, nil
}
