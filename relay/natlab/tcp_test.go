package natlab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"switchboard/relay/natlab"
)

// pair is two connected hosts of the internet, whose link is as said.
func pair(t testing.TB, seed uint64, l natlab.Link) (w *natlab.World, client, server net.Conn) {
	t.Helper()
	w, err := natlab.Build(seed, natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{natlab.Internet: {Link: l}},
		Hosts:    map[string]natlab.HostSpec{"client": {Networks: []string{natlab.Internet}}, "server": {Networks: []string{natlab.Internet}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	client, server = connect(t, w.Host("client"), w.Host("server"))
	return w, client, server
}

// connect connects one host to another, by its name.
func connect(t testing.TB, from, to *natlab.Host) (client, server net.Conn) {
	t.Helper()
	l, err := to.Listen("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	client, err = from.DialContext(context.Background(), "tcp", to.Name()+":443")
	if err != nil {
		t.Fatal(err)
	}
	if server = <-accepted; server == nil {
		t.Fatal("nothing was accepted")
	}
	return client, server
}

func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		w, c1, c2 := pair(t, 1, natlab.Link{})
		return c1, c2, w.Close, nil
	})
}

// transfer sends n bytes one way and expects them whole.
func transfer(t *testing.T, from, to net.Conn, n int) time.Duration {
	t.Helper()
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(data)
	start := time.Now()
	go func() {
		if _, err := from.Write(data); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := from.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	got, err := io.ReadAll(to)
	if err != nil {
		t.Fatalf("read: %v, after %d bytes", err, len(got))
	}
	if sha256.Sum256(got) != sha256.Sum256(data) {
		t.Fatalf("%d bytes arrived, not the %d sent", len(got), n)
	}
	return time.Since(start)
}

func TestTCPOverBadLinks(t *testing.T) {
	const n = 1 << 19
	for _, tt := range []struct {
		name   string
		link   natlab.Link
		within time.Duration
	}{
		{"perfect", natlab.Link{}, time.Millisecond},
		{"delay", natlab.Link{Delay: 20 * time.Millisecond}, 2 * time.Second},
		{"loss", natlab.Link{Delay: 5 * time.Millisecond, Loss: 0.02}, time.Minute},
		{"bursts", natlab.Link{Delay: 5 * time.Millisecond, Loss: 0.02, Burst: 5}, 2 * time.Minute},
		{"reordering", natlab.Link{Delay: 10 * time.Millisecond, Reorder: 0.05}, time.Minute},
		{"jitter", natlab.Link{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond}, 10 * time.Second},
		{"rate", natlab.Link{Delay: 5 * time.Millisecond, Rate: 10_000_000}, 10 * time.Second},
		{"short queue", natlab.Link{Delay: 20 * time.Millisecond, Rate: 2_000_000, Queue: 30 * time.Millisecond}, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) {
					w, client, server := pair(t, seed, tt.link)
					defer w.Close()
					took := transfer(t, client, server, n)
					if took > tt.within {
						t.Errorf("%v for %d bytes, want at most %v", took, n, tt.within)
					}
					if back := transfer(t, server, client, n/4); back > tt.within {
						t.Errorf("%v on the way back", back)
					}
					t.Logf("%v", took)
				})
			}
		})
	}
}

// A reader that pauses fills the window, and gets everything in the end.
func TestTCPSlowReader(t *testing.T) {
	for name, l := range map[string]natlab.Link{"perfect": {}, "loss": {Delay: time.Millisecond, Loss: 0.05}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client, server := pair(t, 3, l)
				defer w.Close()
				data := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
				go func() {
					client.Write(data)
					client.Close()
				}()
				time.Sleep(10 * time.Minute)
				var got []byte
				b := make([]byte, 100_000)
				for {
					n, err := server.Read(b)
					got = append(got, b[:n]...)
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes arrived of %d", len(got), len(data))
				}
			})
		})
	}
}

func TestTCPErrors(t *testing.T) {
	dial := func(w *natlab.World, address string, d time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		start := time.Now()
		c, err := w.Host("client").DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
		}
		return time.Since(start), err
	}
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, w *natlab.World, client, server net.Conn)
	}{
		{"refused", func(t *testing.T, w *natlab.World, _, _ net.Conn) {
			if took, err := dial(w, "server:99", time.Minute); !errors.Is(err, syscall.ECONNREFUSED) || took > time.Second {
				t.Errorf("%v after %v, want refused at once", err, took)
			}
		}},
		{"no such host", func(t *testing.T, w *natlab.World, _, _ net.Conn) {
			_, err := dial(w, "nobody:99", time.Minute)
			if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || !dns.IsNotFound {
				t.Errorf("%v, want a host that is not found", err)
			}
		}},
		{"nobody there", func(t *testing.T, w *natlab.World, _, _ net.Conn) {
			if took, err := dial(w, "198.18.77.77:99", time.Hour); !errors.Is(err, syscall.ETIMEDOUT) || took < 30*time.Second || took > 40*time.Second {
				t.Errorf("%v after %v, want timed out after 30 s", err, took)
			}
		}},
		{"context", func(t *testing.T, w *natlab.World, _, _ net.Conn) {
			if took, err := dial(w, "198.18.77.77:99", time.Second); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
				t.Errorf("%v after %v, want deadline exceeded after 1 s", err, took)
			}
		}},
		{"crashed", func(t *testing.T, w *natlab.World, client, server net.Conn) {
			w.Host("server").Crash()
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read on the crashed host: %v", err)
			}
			if _, err := w.Host("server").Listen("tcp", ":1"); !errors.Is(err, syscall.ENETDOWN) {
				t.Errorf("listen on the crashed host: %v", err)
			}
			start := time.Now()
			client.Write([]byte("anybody?"))
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) < time.Minute {
				t.Errorf("%v after %v, want timed out after minutes", err, time.Since(start))
			}
		}},
		{"started anew", func(t *testing.T, w *natlab.World, client, _ net.Conn) {
			w.Host("server").Crash()
			w.Host("server").Start()
			client.Write([]byte("anybody?"))
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
			connect(t, w.Host("client"), w.Host("server"))
		}},
		{"reset with data unread", func(t *testing.T, _ *natlab.World, client, server net.Conn) {
			client.Write([]byte("unread"))
			server.Close()
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
		}},
		{"half closed", func(t *testing.T, _ *natlab.World, client, server net.Conn) {
			client.(interface{ CloseWrite() error }).CloseWrite()
			if n, err := server.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%d, %v, want EOF", n, err)
			}
			time.Sleep(time.Hour)
			server.Write([]byte("still here"))
			server.Close()
			if got, err := io.ReadAll(client); string(got) != "still here" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write after CloseWrite: %v", err)
			}
		}},
		{"read closed", func(t *testing.T, _ *natlab.World, client, server net.Conn) {
			client.(interface{ CloseRead() error }).CloseRead()
			server.Write([]byte("in vain"))
			if n, err := client.Read(make([]byte, 10)); err != io.EOF {
				t.Errorf("%d, %v, want EOF", n, err)
			}
		}},
		{"deadlines", func(t *testing.T, _ *natlab.World, client, _ net.Conn) {
			start := time.Now()
			client.SetReadDeadline(start.Add(time.Second))
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			client.SetReadDeadline(time.Time{})
			go func() {
				time.Sleep(time.Hour)
				client.Close()
			}()
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v, want closed", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client, server := pair(t, 1, natlab.Link{})
				defer w.Close()
				tt.run(t, w, client, server)
			})
		})
	}
}
