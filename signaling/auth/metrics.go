package auth

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of tokens, as the label kind has them.
const (
	kindOwn      = "own"
	kindExternal = "external"
)

// tokenMetrics are the Authenticator's. A [Registrar] registers them.
type tokenMetrics struct {
	checked *prometheus.CounterVec // by kind and result: ok, unchecked, or a badReason
	keys    *prometheus.CounterVec // by result
}

func newTokenMetrics() *tokenMetrics {
	return &tokenMetrics{
		checked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_auth_tokens_checked_total",
			Help: "Tokens that devices gave, by what issued them and what they were worth; unchecked means that something was away.",
		}, []string{"kind", "result"}),
		keys: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_auth_external_keys_read_total",
			Help: "Readings of the identity system's keys, by result.",
		}, []string{"result"}),
	}
}

// registrarMetrics are the Registrar's.
type registrarMetrics struct {
	requests *prometheus.CounterVec // by endpoint and result: ok or a protocol.Code
	sent     *prometheus.CounterVec // by result
	seconds  prometheus.Histogram
}

// newRegistrarMetrics registers everything of the package into reg; nil stands
// for a registry of their own.
func newRegistrarMetrics(reg prometheus.Registerer, t *tokenMetrics, sources func() float64) (*registrarMetrics, error) {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	m := &registrarMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_auth_requests_total",
			Help: "Registration requests, by endpoint and by the error's code or ok.",
		}, []string{"endpoint", "result"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_auth_codes_sent_total",
			Help: "One-time codes handed to the sender, by result: ok, undeliverable, failed.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "switchboard_auth_code_send_seconds",
			Help:    "Time the sender took for a code, with its retries.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 9), // 10 ms to 15 s
		}),
	}
	all := []prometheus.Collector{m.requests, m.sent, m.seconds, t.checked, t.keys,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_auth_sources",
			Help: "Source addresses whose requests are being counted.",
		}, sources)}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
