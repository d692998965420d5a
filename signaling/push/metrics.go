package push

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	queued *prometheus.CounterVec
	done   *prometheus.CounterVec
	took   *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		queued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_push_queued_total", Help: "Pushes that were put into the queue.",
		}, []string{"kind", "reason"}),
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_push_done_total",
			Help: "What became of pushes: taken, again (will be tried again), gone (the target leads nowhere), refused, given_up, expired.",
		}, []string{"kind", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchboard_push_seconds", Help: "How long an attempt took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 8),
		}, []string{"kind"}),
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.queued.Describe(ch)
	m.done.Describe(ch)
	m.took.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.queued.Collect(ch)
	m.done.Collect(ch)
	m.took.Collect(ch)
}

// kindLabel keeps what a broken record says out of the labels.
func kindLabel(k Kind) string {
	if k == Webhook || k == WebPush {
		return string(k)
	}
	return "unknown"
}
