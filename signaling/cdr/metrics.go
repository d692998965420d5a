package cdr

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ written, repeated, failed prometheus.Counter }

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "switchboard", Subsystem: "cdr", Name: name, Help: help})
	}
	return &metrics{
		written:  counter("written_total", "Records of calls that were written."),
		repeated: counter("repeated_total", "Records of calls that had been written before, and were not again."),
		failed:   counter("failed_total", "Attempts to write the record of a call that failed; each is made again, see switchboard_signaling_call_records_lost_total."),
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.written.Describe(ch)
	m.repeated.Describe(ch)
	m.failed.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.written.Collect(ch)
	m.repeated.Collect(ch)
	m.failed.Collect(ch)
}
