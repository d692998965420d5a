package processes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/natlab/internal/report"
)

// metrics are those of a relay's process that has relayed so many packets each way, all of
// one direction by the kernel.
func metrics(began string, up, down int) string {
	return fmt.Sprintf(`# HELP switchboard_relay_packets_total Packets relayed: up to peers, down to clients.
# TYPE switchboard_relay_packets_total counter
switchboard_relay_packets_total{direction="down"} %[3]d
switchboard_relay_packets_total{direction="up"} %[2]d
switchboard_relay_bytes_total{direction="up"} 1.234e+06
switchboard_relay_offload_packets_total{direction="down"} 0
switchboard_relay_offload_packets_total{direction="up"} %[2]d
switchboard_relay_data_path{path="ebpf"} 1
switchboard_relay_data_path{path="plain"} 0
switchboard_relay_data_path{path="user"} 0
switchboard_relay_offload_left_total{reason="unsummed"} 3
switchboard_relay_offload_left_total{reason="long"} 0
switchboard_relay_offload_refusals_total{reason="local"} 2
process_start_time_seconds %[1]s
`, began, up, down)
}

func TestReadCounts(t *testing.T) {
	c, err := readCounts(strings.NewReader(metrics("1.7e+09", 1_500_000, 20)))
	want := report.Relay{
		DataPath: "ebpf", Up: report.Relayed{Packets: 1_500_000, ByKernel: 1_500_000}, Down: report.Relayed{Packets: 20},
		Left: map[string]uint64{"unsummed": 3}, Refused: map[string]uint64{"local": 2},
	}
	if diff := cmp.Diff(want, c.relay); err != nil || c.began != "1.7e+09" || diff != "" {
		t.Errorf("%v: began %s\n%s", err, c.began, diff)
	}
	for name, text := range map[string]string{
		"nothing": "", "another program's": "up 1\nprocess_start_time_seconds 1\n", "an error page": "404 page not found\n",
		"one without a data path": strings.ReplaceAll(metrics("1", 1, 1), `path="ebpf"} 1`, `path="ebpf"} 0`),
		"no number":               strings.ReplaceAll(metrics("1", 1, 1), `direction="down"} 1`, `direction="down"} one`),
	} {
		if c, err := readCounts(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read as %+v", name, c)
		}
	}
}

// What a relay has relayed before it lost its power is not forgotten.
func TestCountsOfSeveralProcesses(t *testing.T) {
	r := newRelaying(nil, []string{"relay-1", "relay-2", "relay-3"})
	for _, said := range []string{metrics("1", 10, 5), metrics("1", 100, 50), metrics("2", 0, 0), metrics("2", 7, 3)} {
		c, err := readCounts(strings.NewReader(said))
		if err != nil {
			t.Fatal(err)
		}
		r.note("relay-1", c)
	}
	got := r.relays(map[string]bool{"relay-3": true})
	want := []report.Relay{
		{Name: "relay-1", DataPath: "ebpf", Up: report.Relayed{Packets: 107, ByKernel: 107}, Down: report.Relayed{Packets: 53},
			Left: map[string]uint64{"unsummed": 6}, Refused: map[string]uint64{"local": 4}},
		{Name: "relay-3", KernelsWork: true}, // it was never heard of, which is for the verdict
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.mu.Lock()
	r.begun["relay-1"] = report.Relay{Up: report.Relayed{Packets: 9, ByKernel: 9}, Down: report.Relayed{Packets: 5}}
	r.mu.Unlock()
	if x := r.relays(nil)[0]; x.Up.Packets != 98 || x.Up.ByKernel != 98 || x.Down.Packets != 48 {
		t.Errorf("from when there was media: %+v", x)
	}
	if !r.inKernel() {
		t.Error("no relay relays in the kernel")
	}
}

func TestKernelsWork(t *testing.T) {
	side := report.Side{
		Local: "relay", Remote: "prflx", Relay: "udp", Server: "relay-1:3478",
		LocalAddress: "198.18.0.4:60010", RemoteAddress: "198.18.0.2:37877",
		Candidates: []report.Candidate{{Type: "relay", Address: "198.18.0.4:60010", Base: "0.0.0.0:40555"}},
	}
	for _, test := range []struct {
		name string
		set  func(*report.Side)
		want string
	}{
		{"over UDP to a peer elsewhere", func(*report.Side) {}, "relay-1"},
		{"to another relay", func(s *report.Side) { s.Remote, s.RemoteAddress = "relay", "198.18.0.5:50000" }, "relay-1"},
		{"by a name with a dot at its end", func(s *report.Side) { s.Server = "relay-1.:3478" }, "relay-1"},
		{"over IPv6", func(s *report.Side) { s.LocalAddress, s.RemoteAddress = "[2001:2::4]:60010", "[2001:2::5]:1" }, "relay-1"},
		{"over TCP", func(s *report.Side) { s.Relay = "tcp" }, ""},
		{"over TLS", func(s *report.Side) { s.Relay = "tls" }, ""},
		{"to a peer of the same relay", func(s *report.Side) { s.Remote, s.RemoteAddress = "relay", "198.18.0.4:60011" }, ""},
		{"the other side's relay", func(s *report.Side) { s.Local, s.Relay, s.Server = "host", "", "" }, ""},
		{"from a client over IPv6", func(s *report.Side) { s.Candidates[0].Base = "[2001:2::7]:40555" }, ""},
		{"a browser does not tell of its peer", func(s *report.Side) { s.RemoteAddress = "" }, "relay-1"},
		{"no relay is named", func(s *report.Side) { s.Server = "" }, ""},
		{"no pair", func(s *report.Side) { *s = report.Side{} }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := side
			s.Candidates = append([]report.Candidate(nil), side.Candidates...)
			test.set(&s)
			if got, ok := kernelsWork(s, report.Side{Local: "prflx", LocalAddress: "198.18.0.2:2959"}); got != test.want || ok != (test.want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, test.want)
			}
		})
	}
	side.RemoteAddress = ""
	if host, ok := kernelsWork(side, report.Side{}); ok {
		t.Errorf("nobody tells of the peer, and %s relays to it", host)
	}
	if host, ok := kernelsWork(side, report.Side{Local: "relay", LocalAddress: "198.18.0.4:60011"}); ok {
		t.Errorf("the other side has an address of %s, too", host)
	}
}
