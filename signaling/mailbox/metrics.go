package mailbox

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Operations, as the label op has them.
const (
	opPut   = "put"
	opRead  = "read"
	opTail  = "tail"
	opCount = "count"
	opAck   = "ack"
	opDrop  = "drop"
)

// metrics are the Store's own. The Store is their collector: register it.
type metrics struct {
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	pending prometheus.GaugeFunc
}

func newMetrics(pending func() int) *metrics {
	return &metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_mailbox_operations_total",
			Help: "Operations on mailboxes that ended, by result.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "switchboard_mailbox_operation_seconds",
			Help:    "Time an operation on a mailbox took, with the wait for its turn.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2.5, 12), // 50 µs to 1.2 s
		}, []string{"op"}),
		pending: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_mailbox_requests_pending",
			Help: "Requests to NATS that wait for an answer.",
		}, func() float64 { return float64(pending()) }),
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.results.Describe(ch)
	m.seconds.Describe(ch)
	m.pending.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.results.Collect(ch)
	m.seconds.Collect(ch)
	m.pending.Collect(ch)
}

// observe starts the clock of an operation; what it returns stops it.
func (m *metrics) observe(op string) func(*error) {
	start := time.Now()
	return func(err *error) {
		m.seconds.WithLabelValues(op).Observe(time.Since(start).Seconds())
		m.results.WithLabelValues(op, result(*err)).Inc()
	}
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "unavailable"
}
