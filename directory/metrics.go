package directory

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Operations, as the label op has them.
const (
	opResolve      = "resolve"
	opRegister     = "register"
	opAccount      = "account"
	opAddDevice    = "add_device"
	opDevice       = "device"
	opDevices      = "devices"
	opUpdateDevice = "update_device"
	opRemoveDevice = "remove_device"
	opBind         = "bind"
	opUnbind       = "unbind"
	opRebind       = "rebind"
	opBindings     = "bindings"
	opConfirm      = "bindings_confirmed"
	opPresence     = "presence"
	opPresences    = "presences"
	opLookUp       = "look_up"
	opRelation     = "relation"
	opContacts     = "contacts"
	opBlocks       = "blocks"
	opSettings     = "settings"
	opMoveNumber   = "move_number"
	opDelete       = "delete_account"
	opAsk          = "ask"
	opRenew        = "renew_lease"
)

// metrics are the Directory's own.
type metrics struct {
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	refused prometheus.Counter
	lost    prometheus.Counter
	swept   prometheus.Counter
	nodes   prometheus.GaugeFunc
	relays  []prometheus.Collector
	unseen  prometheus.GaugeFunc
	queued  prometheus.GaugeFunc
}

// newMetrics makes them; counts tells how many nodes live, and how many
// accounts wait for it to be written down when they were last seen; queued, how
// many requests of other nodes wait; relays, how many relays live and are drained or not.
func newMetrics(counts func() (nodes, unseen int), queued func() int64, relays func(draining bool) int) *metrics {
	return &metrics{
		relays: []prometheus.Collector{relayGauge("serving", relays, false), relayGauge("draining", relays, true)},
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_directory_operations_total",
			Help: "Operations on the directory that ended, by result.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "switchboard_directory_operation_seconds",
			Help:    "Time an operation on the directory took.",
			Buckets: prometheus.ExponentialBuckets(20e-6, 2.5, 13), // 20 µs to 1.2 s
		}, []string{"op"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_directory_leases_lost_total",
			Help: "How often this node could not keep its lease, because NATS was away or the process was paused.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_directory_requests_refused_total",
			Help: "Requests of other nodes that were refused because too many waited.",
		}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_directory_bindings_swept_total",
			Help: "Bindings that dead nodes left behind and this node removed.",
		}),
		nodes: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_directory_nodes",
			Help: "Nodes whose lease holds, this one included.",
		}, func() float64 { n, _ := counts(); return float64(n) }),
		unseen: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_directory_seen_pending",
			Help: "Accounts whose devices left and of which it is not yet written down when.",
		}, func() float64 { _, n := counts(); return float64(n) }),
		queued: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_directory_requests_waiting",
			Help: "Requests of other nodes that wait for their turn.",
		}, func() float64 { return float64(queued()) }),
	}
}

func relayGauge(state string, count func(draining bool) int, draining bool) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_directory_relays", Help: "Relays that were heard of late, by whether they are drained.",
		ConstLabels: prometheus.Labels{"state": state},
	}, func() float64 { return float64(count(draining)) })
}

func (m *metrics) all() []prometheus.Collector {
	return append([]prometheus.Collector{m.results, m.seconds, m.refused, m.lost, m.swept, m.nodes, m.unseen, m.queued}, m.relays...)
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
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
	var re *RecordError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrConflict), errors.Is(err, errRevision):
		return "conflict"
	case errors.Is(err, ErrNumberTaken):
		return "taken"
	case errors.Is(err, ErrReplaced):
		return "replaced"
	case errors.Is(err, ErrTooMany):
		return "too_many"
	case errors.Is(err, ErrLeaseLost):
		return "lease_lost"
	case errors.Is(err, ErrGone):
		return "gone"
	case errors.As(err, &re):
		return "record"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return "other" // what the caller's own code or another node returned
}
