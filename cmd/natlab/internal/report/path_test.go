package report

import (
	"testing"

	"switchboard/cmd/natlab/internal/theory"
)

func TestPathOf(t *testing.T) {
	host := Candidate{Type: "host", Address: "192.168.1.2:5000"}
	tests := []struct {
		name string
		a, b Side
		want theory.Path
	}{
		{"nothing", Side{}, Side{}, theory.None},
		{"one side alone", Side{Local: "host", Remote: "srflx"}, Side{}, theory.None},
		{"own addresses", Side{Local: "host", Remote: "host"}, Side{Local: "host", Remote: "host"}, theory.Host},
		{"own addresses, met before they were announced", Side{Local: "host", Remote: "host", Candidates: []Candidate{host}},
			Side{Local: "host", Remote: "prflx", RemoteAddress: host.Address}, theory.Host},
		{"one side behind a NAT", Side{Local: "host", Remote: "host", Candidates: []Candidate{host}},
			Side{Local: "host", Remote: "prflx", RemoteAddress: "198.18.0.9:1"}, theory.Direct},
		{"through NATs", Side{Local: "host", Remote: "srflx"}, Side{Local: "srflx", Remote: "prflx"}, theory.Direct},
		{"one relay by UDP", Side{Local: "relay", Relay: "udp", Remote: "srflx"}, Side{Local: "host", Remote: "relay"}, theory.RelayUDP},
		{"the other's relay alone is known", Side{Local: "host", Remote: "relay"}, Side{Local: "host", Remote: "prflx"}, theory.RelayUDP},
		{"by TCP on one side", Side{Local: "relay", Relay: "tcp", Remote: "prflx"}, Side{Local: "host", Remote: "relay"}, theory.RelayTCP},
		{"two relays", Side{Local: "relay", Relay: "tcp", Remote: "relay"}, Side{Local: "relay", Relay: "tls", Remote: "relay"}, theory.RelayTLS},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := PathOf([2]Side{test.a, test.b}); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := PathOf([2]Side{test.b, test.a}); got != test.want {
				t.Errorf("the other way round %s, want %s", got, test.want)
			}
		})
	}
}
