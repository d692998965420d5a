package admin

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
}

// newMetrics registers with r, if there is one.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_admin_requests_total",
		Help: "Operators' requests, by operation and result; without an operation, those that were refused before.",
	}, []string{"operation", "result"})}
	if r != nil {
		r.MustRegister(m.requests)
	}
	return m
}
