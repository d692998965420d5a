package directory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory"
	"switchboard/directory/directorytest"
)

func open(t *testing.T, js jetstream.JetStream, change func(*directory.Config)) (*directory.Directory, error) {
	t.Helper()
	c := directory.Default()
	c.Secret, c.Node = secret, "n1"
	if change != nil {
		change(&c)
	}
	return directory.Open(t.Context(), js.Conn(), js, c, directorytest.Log())
}

// With another secret no number would be found, and everybody would register
// anew.
func TestOtherSecret(t *testing.T) {
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	for range 2 {
		if _, err := open(t, n.JetStream(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	js := directorytest.NATSIn(t, dir).JetStream()
	if _, err := open(t, js, func(c *directory.Config) { c.Secret = []byte("another secret of 16") }); !errors.Is(err, directory.ErrOtherSecret) {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := open(t, js, nil); err != nil {
		t.Errorf("with the same secret: %v", err)
	}
}

func TestSettingsOfANewerProgram(t *testing.T) {
	n := directorytest.NATS(t)
	if _, err := open(t, n.JetStream(), nil); err != nil {
		t.Fatal(err)
	}
	for data, field := range map[string]string{`{"v":2}`: "v", `x`: ""} {
		if _, err := bucket(t, n, "CONFIG").PutString(t.Context(), "directory", data); err != nil {
			t.Fatal(err)
		}
		var re *directory.RecordError
		if _, err := open(t, n.JetStream(), nil); !errors.As(err, &re) || re.Field != field {
			t.Errorf("settings %s: %v", data, err)
		}
	}
}

func TestOpenNeeds(t *testing.T) {
	js := directorytest.NATS(t).JetStream()
	for want, change := range map[string]func(*directory.Config){
		"secret":              func(c *directory.Config) { c.Secret = c.Secret[:15] },
		"no name":             func(c *directory.Config) { c.Node = "" },
		"a-z, 0-9 and -":      func(c *directory.Config) { c.Node = "my.host" },
		"replica":             func(c *directory.Config) { c.Replicas = 0 },
		"directory.lease_ttl": func(c *directory.Config) { c.LeaseTTL = time.Millisecond },
	} {
		if _, err := open(t, js, change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A cluster's bucket is not thinned out by a node with an old configuration,
// nor are its settings changed.
func TestBucketsStayAsTheyAre(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	acct, _ := device(t, d, 1)
	s, err := n.JetStream().Stream(t.Context(), "KV_ACCT")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Description = "mine"
	if _, err := n.JetStream().UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	again, err := open(t, n.JetStream(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = n.JetStream().Stream(t.Context(), "KV_ACCT"); err != nil || s.CachedInfo().Config.Description != "mine" {
		t.Errorf("the bucket was changed: %v", err)
	}
	if _, err := again.AccountOf(t.Context(), acct); err != nil {
		t.Error(err)
	}
}

// NATS that does not answer is unavailable, within the time for a request.
func TestUnavailable(t *testing.T) {
	n := directorytest.NATS(t)
	conn := directorytest.NATSConn(t, n)
	d := directorytest.OpenOn(t, n, conn, "n1", nil)
	acct, dev := device(t, d, 1)
	conn.Close()
	_, err1 := d.Resolve(t.Context(), number(t, 1))
	_, err2 := d.DeviceOf(t.Context(), acct, dev)
	_, err3 := d.Bindings(t.Context(), acct)
	_, err4 := d.Unbind(t.Context(), acct, dev, 1)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("%v, want unavailable", err)
		}
	}
}

// lossy loses the answer to a write whose subject has a word in it.
type lossy struct {
	jetstream.JetStream
	word string
	left int
}

func (l *lossy) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, m, opts...)
	if l.left > 0 && strings.Contains(m.Subject, l.word) {
		l.left--
		return nil, nats.ErrTimeout
	}
	return ack, err
}

// Whatever answer is lost while a number registers, it has an account after
// that, and the same one ever after.
func TestRegisterWithLostAnswers(t *testing.T) {
	for _, word := range []string{"ACCT.e1.", "ACCT.a."} {
		l := &lossy{JetStream: directorytest.NATS(t).JetStream(), word: word, left: 1}
		d, err := open(t, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Register(t.Context(), number(t, 1)); !errors.Is(err, directory.ErrUnavailable) {
			t.Fatalf("%s: %v, want unavailable", word, err)
		}
		rec, err := d.Register(t.Context(), number(t, 1))
		if err != nil {
			t.Fatalf("%s: the number is lost: %v", word, err)
		}
		if again, err := d.Register(t.Context(), number(t, 1)); err != nil || again.Account != rec.Account {
			t.Errorf("%s: %+v and %+v, %v", word, rec, again, err)
		}
	}
}

// The same for a device: one that was begun is finished, not made twice.
func TestAddDeviceWithLostAnswers(t *testing.T) {
	for _, word := range []string{"ACCT.a.", "DEVS."} {
		l := &lossy{JetStream: directorytest.NATS(t).JetStream(), word: word}
		d, err := open(t, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		acct, err := d.Register(t.Context(), number(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		l.left = 1
		if _, err := d.AddDevice(t.Context(), acct.Account, "x", "ext"); !errors.Is(err, directory.ErrUnavailable) {
			t.Fatalf("%s: %v, want unavailable", word, err)
		}
		dev, err := d.AddDevice(t.Context(), acct.Account, "x", "ext")
		if err != nil || dev.Device != 1 {
			t.Errorf("%s: %+v, %v", word, dev, err)
		}
		if all, err := d.Devices(t.Context(), acct.Account); err != nil || len(all) != 1 {
			t.Errorf("%s: devices = %+v, %v", word, all, err)
		}
	}
}

// A record that others change all the time is given up on.
func TestConflict(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	acct, dev := device(t, d, 1)
	tries := 0
	_, err := d.UpdateDevice(t.Context(), acct, dev, func(*directory.DeviceRecord) error {
		tries++
		_, err := d.UpdateDevice(t.Context(), acct, dev, func(r *directory.DeviceRecord) error {
			r.Token.Generation++
			return nil
		})
		return err
	})
	if !errors.Is(err, directory.ErrConflict) || tries > 100 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestMetrics(t *testing.T) {
	d := directorytest.Open(t, directorytest.NATS(t), "n1", nil)
	_, _ = d.Resolve(t.Context(), number(t, 1))
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(d); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		got[f.GetName()] = true
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got[f.GetName()+"{"+l.GetName()+"="+l.GetValue()+"}"] = true
			}
		}
	}
	for _, want := range []string{
		"switchboard_directory_operations_total{op=resolve}", "switchboard_directory_operations_total{result=not_found}",
		"switchboard_directory_operation_seconds{op=resolve}", "switchboard_directory_nodes", "switchboard_directory_relays{state=serving}",
		"switchboard_directory_seen_pending", "switchboard_directory_bindings_swept_total", "switchboard_directory_requests_refused_total",
	} {
		if !got[want] {
			t.Errorf("no %s among %v", want, got)
		}
	}
}
