package relay

import (
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay/internal/kernel"
)

// kernelDrops tells what the kernel dropped, as Linux counts it: of the whole network
// namespace, and of the relay's own listeners over UDP. It reads when it is asked, and
// has no series where there is nothing to read.
type kernelDrops struct {
	drops, squeezed *prometheus.Desc

	// Guarded by mu.
	mu        sync.Mutex
	listeners []*listenerDrops
}

// listenerDrops is what the kernel dropped for want of room in one socket.
type listenerDrops struct {
	conn syscall.RawConn
	last uint32 // stays when the socket is closed
	ok   bool
}

// ofListeners is the label of what the relay's own listeners dropped. It is part of
// udp_rcvbuf.
const ofListeners = "listener"

func newKernelDrops() *kernelDrops {
	return &kernelDrops{
		drops: prometheus.NewDesc("switchboard_relay_kernel_drops_total",
			"Packets that the kernel dropped, by reason: of all sockets of this network namespace, but for listener, which is the relay's own and counted in udp_rcvbuf, too.",
			[]string{"reason"}, nil),
		squeezed: prometheus.NewDesc("switchboard_relay_kernel_squeezed_total",
			"Times that a CPU stopped to take packets from its queue for want of time.", nil, nil),
	}
}

// watch adds a listener over UDP.
func (k *kernelDrops) watch(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // closed already
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, &listenerDrops{conn: raw})
}

// Describe implements [prometheus.Collector].
func (k *kernelDrops) Describe(to chan<- *prometheus.Desc) { to <- k.drops; to <- k.squeezed }

// Collect implements [prometheus.Collector].
func (k *kernelDrops) Collect(to chan<- prometheus.Metric) {
	for reason, n := range kernel.Read() {
		if reason == kernel.Squeezed {
			to <- prometheus.MustNewConstMetric(k.squeezed, prometheus.CounterValue, float64(n))
			continue
		}
		to <- prometheus.MustNewConstMetric(k.drops, prometheus.CounterValue, float64(n), string(reason))
	}
	if n, ok := k.ofListeners(); ok {
		to <- prometheus.MustNewConstMetric(k.drops, prometheus.CounterValue, float64(n), ofListeners)
	}
}

func (k *kernelDrops) ofListeners() (sum uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.listeners {
		if n, known := socketDrops(l.conn); known {
			l.last, l.ok = n, true
		}
		sum, ok = sum+uint64(l.last), ok || l.ok
	}
	return sum, ok
}
