package callstore

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Operations, as the label op has them.
const (
	opCreate = "create"
	opLoad   = "load"
	opSave   = "save"
	opDelete = "delete"
	opKeys   = "keys"
)

// metrics are the Store's own. The Store is their collector: register it.
type metrics struct {
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_callstore_operations_total",
			Help: "Operations on the records of calls that ended, by result.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "switchboard_callstore_operation_seconds",
			Help:    "Time an operation on the record of a call took, with the wait for its turn.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2.5, 12), // 50 µs to 1.2 s
		}, []string{"op"}),
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.results.Describe(ch)
	m.seconds.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.results.Collect(ch)
	m.seconds.Collect(ch)
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
	case errors.Is(err, ErrExists):
		return "exists"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrConflict):
		return "conflict"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrTooMany):
		return "too_many"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "unavailable"
}
