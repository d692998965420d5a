package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchboard/relay/internal/kernel"
)

// written has files under a folder of the test's stand for /proc.
func written(t *testing.T, files map[string]string) machine {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return machine{proc: dir}
}

func TestMachine(t *testing.T) {
	const count, most = "sys/net/netfilter/nf_conntrack_count", "sys/net/netfilter/nf_conntrack_max"
	for _, test := range []struct {
		name  string
		files map[string]string
		look  func(*doctor, machine)
		want  Status
		words string
	}{
		{"a good buffer", map[string]string{"sys/net/core/rmem_max": "4194304\n"}, rmem, OK, "4194304"},
		{"a small buffer", map[string]string{"sys/net/core/rmem_max": "212992\n"}, rmem, Warning, "sysctl -w net.core.rmem_max=4194304"},
		{"no buffer", nil, rmem, Warning, "cannot be read"},
		{"nonsense", map[string]string{"sys/net/core/rmem_max": "much\n"}, rmem, Warning, "cannot be read"},
		{"no conntrack", nil, (*doctor).conntrack, OK, "not loaded"},
		{"an empty table", map[string]string{count: "10\n", most: "262144\n"}, (*doctor).conntrack, OK, "10 of 262144"},
		{"a small table", map[string]string{count: "10\n", most: "16384\n"}, (*doctor).conntrack, Warning, "nf_conntrack_max=65536"},
		{"a full table", map[string]string{count: "262000\n", most: "262144\n"}, (*doctor).conntrack, Failed, "nf_conntrack_max=524288"},
		{"files", nil, func(d *doctor, _ machine) { d.files() }, Warning, "LimitNOFILE=32768"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &doctor{Options: Options{System: &System{Allocations: 8000, Connections: 10000, MaxFiles: 1024}}}
			test.look(d, written(t, test.files))
			if len(d.results) != 1 {
				t.Fatalf("results: %v", d.results)
			}
			if r := d.results[0]; r.Status != test.want || !strings.Contains(r.Figure+r.Advice, test.words) {
				t.Errorf("got %+v, want %s with %q", r, test.want, test.words)
			}
		})
	}
}

func rmem(d *doctor, m machine) { d.sysctl(m, "net.core.rmem_max", goodBuffer, "otherwise") }

func TestDataPath(t *testing.T) {
	for _, test := range []struct {
		name  string
		path  *DataPath
		want  Status
		words string
	}{
		{"the kernel's", &DataPath{Setting: "auto", Path: "ebpf", Interfaces: []string{"eth0", "eth1"}}, OK, "the kernel relays, at eth0, eth1"},
		{"chosen", &DataPath{Setting: "user", Path: "user", Reason: "data_path: user"}, OK, "because: data_path: user"},
		{"for want of rights", &DataPath{Setting: "auto", Path: "user", Reason: "not permitted"}, Warning, "because: not permittedcalls work"},
		{"switched", &DataPath{Setting: "ebpf", Path: "user", Reason: "an operator has chosen it"}, Warning, "switchboard data-path auto"},
		{"not known", nil, Warning, "run this as root"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &doctor{Options: Options{System: &System{DataPath: test.path}}}
			if d.dataPath(); len(d.results) != 1 {
				t.Fatalf("results: %v", d.results)
			}
			if r := d.results[0]; r.Status != test.want || !strings.Contains(r.Figure+r.Advice, test.words) {
				t.Errorf("got %+v, want %s with %q", r, test.want, test.words)
			}
		})
	}
}

func TestDrops(t *testing.T) {
	d := &doctor{}
	d.drops(map[kernel.Count]uint64{kernel.UDPReceiveBuffer: 7, kernel.UDPSendBuffer: 0})
	if len(d.results) != 2 || d.results[0].Status != Warning || d.results[1].Status != OK {
		t.Errorf("got %+v", d.results)
	}
}

// The real machine can be looked at, whatever comes of it.
func TestSystem(t *testing.T) {
	d := &doctor{Options: Options{System: &System{Allocations: 10, Connections: 10}}}
	d.system()
	for _, check := range []string{"net.core.rmem_max", "net.core.wmem_max", "net.core.netdev_max_backlog", "open files", "data path", "connection tracking", "clock", "UDP RcvbufErrors"} {
		if !strings.Contains(strings.Join(checks(d.results), "\n"), check) {
			t.Errorf("nothing about %s", check)
		}
	}
}

func checks(results []Result) (out []string) {
	for _, r := range results {
		out = append(out, r.Check)
	}
	return out
}
