package directory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

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
