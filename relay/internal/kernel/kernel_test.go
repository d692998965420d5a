package kernel

import (
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const snmp = `Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 1115021 15738 99745 1235021 700 30 2 0 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
UdpLite: 9 9 9 9 9 9 9 9 9
`

const snmp6 = `Ip6InReceives                   	81
Udp6InDatagrams                 	5
Udp6RcvbufErrors                	11
Udp6SndbufErrors                	1
Udp6InCsumErrors                	0
UdpLite6RcvbufErrors            	9
`

const softnet = `0094fa0e 0000000a 0000000b 00000000 00000000
006b9470 00000001 00000007 00000000 00000000
`

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name                 string
		snmp, snmp6, softnet string
		want                 map[Count]uint64
	}{
		{"all", snmp, snmp6, softnet, map[Count]uint64{UDPReceiveBuffer: 711, UDPSendBuffer: 31, UDPChecksum: 2, Softnet: 11, Squeezed: 18}},
		{"no IPv6", snmp, "", softnet, map[Count]uint64{UDPReceiveBuffer: 700, UDPSendBuffer: 30, UDPChecksum: 2, Softnet: 11, Squeezed: 18}},
		{"nothing", "", "", "", map[Count]uint64{}},
		{"an old kernel", "Udp: InDatagrams NoPorts\nUdp: 1 2\n", "", "00000001\n", map[Count]uint64{}},
		{"cut short", "Udp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 1 2", "", "", map[Count]uint64{UDPReceiveBuffer: 2}},
		{"values for no name", "Udp: RcvbufErrors\nUdp: 1 2 3 4\n", "", "", map[Count]uint64{UDPReceiveBuffer: 1}},
		{"no numbers", "Udp: RcvbufErrors\nUdp: many\n", "Udp6RcvbufErrors -1\n", "xyz zz zz\n", map[Count]uint64{}},
		{"names alone", "Udp: RcvbufErrors\n", "Udp6RcvbufErrors\n", "", map[Count]uint64{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := map[Count]uint64{}
			parseSNMP(strings.NewReader(test.snmp), got)
			parseSNMP6(strings.NewReader(test.snmp6), got)
			parseSoftnet(strings.NewReader(test.softnet), got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The files of this machine are understood.
func TestRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has these files")
	}
	got := Read()
	for _, c := range []Count{UDPReceiveBuffer, UDPSendBuffer, UDPChecksum, Softnet, Squeezed} {
		if _, ok := got[c]; !ok {
			t.Errorf("no %s on this machine", c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(snmp)
	f.Add(snmp6)
	f.Add(softnet)
	f.Fuzz(func(t *testing.T, text string) {
		got := map[Count]uint64{}
		parseSNMP(strings.NewReader(text), got)
		parseSNMP6(strings.NewReader(text), got)
		parseSoftnet(strings.NewReader(text), got)
		if len(got) > 5 {
			t.Errorf("counters that do not exist: %v", got)
		}
	})
}
