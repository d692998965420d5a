package directory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
)

// The benchmarks run on the embedded server, in process, every write synced.
// Each reports operations a second, by one caller and by 64 at a time.

// population is how many accounts, each with a device that is connected, there
// are meanwhile.
const population = 100

// house is what an operation is tried on.
type house struct {
	*directory.Directory
	other    string // another node
	accounts [population]directory.Account
	numbers  [population]e164.Number
}

func (h *house) account(i int) directory.Account { return h.accounts[i%population] }

func bench(b *testing.B, op func(ctx context.Context, h *house, i int) error) {
	n := directorytest.NATS(b)
	answer := func(context.Context, directory.Request) ([]byte, error) { return nil, nil }
	h := &house{
		Directory: directorytest.Open(b, n, "n1", nil),
		other:     directorytest.OpenWith(b, n, "n2", nil, answer).Incarnation(),
	}
	for i := range population {
		h.numbers[i] = number(b, i)
		h.accounts[i], _ = device(b, h.Directory, i)
		if _, _, err := h.Bind(b.Context(), h.accounts[i], 1, "c"); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("1-caller", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if err := op(b.Context(), h, i); err != nil {
				b.Fatal(err)
			}
			i++
		}
		rate(b)
	})
	b.Run("64-callers", func(b *testing.B) {
		var next atomic.Int64
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := op(b.Context(), h, int(next.Add(1))); err != nil {
					b.Error(err)
					return
				}
			}
		})
		rate(b)
	})
}

func rate(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s") }

func BenchmarkResolve(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		_, err := h.Resolve(ctx, h.numbers[i%population])
		return err
	})
}

// BenchmarkBind is a connect and a disconnect of a device.
func BenchmarkBind(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		dev := directory.Device(i + 2)
		fence, _, err := h.Bind(ctx, h.account(i), dev, "c")
		if err != nil {
			return err
		}
		if did, err := h.Unbind(ctx, h.account(i), dev, fence); !did || err != nil {
			return errors.Join(errors.New("not unbound"), err)
		}
		return nil
	})
}

// BenchmarkRebind is what each connection costs after the node lost its lease.
func BenchmarkRebind(b *testing.B) {
	since := time.Now()
	bench(b, func(ctx context.Context, h *house, i int) error {
		_, _, err := h.Rebind(ctx, h.account(i), 1, "c", since)
		return err
	})
}

func BenchmarkBindings(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		got, err := h.Bindings(ctx, h.account(i))
		if len(got) != 1 {
			return fmt.Errorf("%d bindings, %w", len(got), err)
		}
		return err
	})
}

func BenchmarkBindingsConfirmed(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		got, err := h.BindingsConfirmed(ctx, h.account(i))
		if len(got) != 1 {
			return fmt.Errorf("%d bindings, %w", len(got), err)
		}
		return err
	})
}

func BenchmarkDeviceOf(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		_, err := h.DeviceOf(ctx, h.account(i), 1)
		return err
	})
}

// BenchmarkUpdateDevice is a write that is on the disk when it returns.
func BenchmarkUpdateDevice(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		_, err := h.UpdateDevice(ctx, h.account(i), 1, func(r *directory.DeviceRecord) error {
			r.Name = strconv.Itoa(i)
			return nil
		})
		return err
	})
}

func BenchmarkAsk(b *testing.B) {
	bench(b, func(ctx context.Context, h *house, i int) error {
		_, err := h.Ask(ctx, h.other, directory.Request{Kind: "tell", Account: h.account(i), Data: []byte("x")})
		return err
	})
}

// BenchmarkRelation asks what an account thinks of another, as every call and
// text does, with so many contacts.
func BenchmarkRelation(b *testing.B) {
	for _, n := range []int{0, 300, directory.MaxContacts} {
		b.Run(fmt.Sprintf("%d-contacts", n), func(b *testing.B) {
			nats := directorytest.NATS(b)
			d := directorytest.Open(b, nats, "n1", nil)
			acct, err := d.Register(b.Context(), number(b, 1))
			if err != nil {
				b.Fatal(err)
			}
			var contacts []e164.Number
			for i := range n {
				c, err := e164.Parse(fmt.Sprintf("+1212555%04d", i), "")
				if err != nil {
					b.Fatal(err)
				}
				contacts = append(contacts, c)
			}
			if err := d.AddContacts(b.Context(), acct.Account, contacts); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Relation(b.Context(), acct.Account, "", number(b, 2)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookUp looks up 500 numbers of 5,000 that somebody has, or that
// nobody has: who measures should not be able to tell.
func BenchmarkLookUp(b *testing.B) {
	const there = 5000
	nats := directorytest.NATS(b)
	d := directorytest.Open(b, nats, "n1", nil)
	all := make([]e164.Number, 2*there)
	for i := range all {
		n, err := e164.Parse(fmt.Sprintf("+1212%07d", 5_550_000+i), "")
		if err != nil {
			b.Fatal(err)
		}
		all[i] = n
	}
	var wg sync.WaitGroup
	for part := range slices.Chunk(all[:there], there/50) {
		wg.Go(func() {
			for _, n := range part {
				if _, err := d.Register(b.Context(), n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range []struct {
		name string
		from []e164.Number
		size int
	}{
		{"500-hits", all[:there], directory.MaxLookUp}, {"500-misses", all[there:], directory.MaxLookUp},
		{"1-hit", all[:there], 1}, {"1-miss", all[there:], 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				at := rand.N(there - c.size)
				if _, err := d.LookUp(b.Context(), c.from[at:at+c.size]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
