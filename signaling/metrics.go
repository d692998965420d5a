package signaling

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of one server. Labels come from closed sets: the message
// types, codes, close codes and reasons of the protocol, and the words below.
type metrics struct {
	sessions, connections            prometheus.Gauge
	opened, closed, refused, limited *prometheus.CounterVec
	framesIn, framesOut, errors      *prometheus.CounterVec
	bytesIn, bytesOut                prometheus.Counter
	handled                          *prometheus.HistogramVec
	invites, merged                  prometheus.Counter
	ended, paths                     *prometheus.CounterVec
	answerSeconds, callSeconds       prometheus.Histogram
	messages, delivered              prometheus.Counter
	undelivered                      *prometheus.CounterVec
	subscriptions                    prometheus.Gauge
	spared, blocked, missed, unwoken prometheus.Counter
	adopted, lost                    prometheus.Counter
	moved                            *prometheus.CounterVec
	firstMedia, loss, mos            *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	m := &metrics{
		sessions:    gauge("sessions", "Sessions of devices, connected or waiting for their device."),
		connections: gauge("connections", "WebSocket connections with a session."),
		opened:      counters("sessions_opened_total", "Sessions opened, by how much of an earlier one was there.", "resumed"),
		closed:      counters("connections_closed_total", "Connections ended, by the name of the close code; peer is one that left by itself.", "reason"),
		refused:     counters("connections_refused_total", "Connections that got no session, by reason.", "reason"),
		limited:     counters("limited_total", "Requests refused by a limit, by limit.", "limit"),
		framesIn:    counters("frames_received_total", "Frames from clients, by type; refused ones are of no type.", "type"),
		framesOut:   counters("frames_sent_total", "Messages to clients other than answers, by type.", "type"),
		errors:      counters("errors_total", "Errors told to clients, by code.", "code"),
		bytesIn:     counter("received_bytes_total", "Bytes of frames from clients."),
		bytesOut:    counter("sent_bytes_total", "Bytes of frames to clients."),
		handled: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "switchboard", Subsystem: "signaling", Name: "request_seconds",
			Help: "Time to handle a frame, by type.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"type"}),
		invites:       counter("calls_total", "Calls begun."),
		merged:        counter("calls_merged_total", "Invites merged into the other side's call (glare)."),
		ended:         counters("calls_ended_total", "Calls that are over, by the caller's region (other: one that this node does not know), whether a relay carried their media, and reason. Counted when they are written down, some seconds after the end.", "region", "path", "reason"),
		paths:         counters("call_paths_total", "Paths that the media of ended calls took, by the caller's candidates.", "local", "remote", "protocol"),
		answerSeconds: histogram("answer_seconds", "Time from invite to answer.", prometheus.ExponentialBuckets(0.25, 2, 9)),
		callSeconds:   histogram("call_seconds", "Time from answer to end; 0 for calls never answered.", prometheus.ExponentialBuckets(1, 4, 9)),
		messages:      counter("messages_stored_total", "Texts stored."),
		delivered:     counter("receipts_total", "Receipts of delivery made."),
		undelivered:   counters("undelivered_total", "Messages that found no device, by reason; devices find the state when they connect.", "reason"),
	}
	m.subscriptions = gauge("subscriptions", "Numbers that sessions want to hear of, each for each session.")
	m.spared = counter("presence_spared_total", "Changes of presence kept back because a device was away or slow.")
	m.missed = counter("missed_items_total", "Texts that did not fit into the mailbox of one device, while another of the account got them.")
	m.unwoken = counter("pushes_not_queued_total", "Pushes that were due and could not be queued.")
	m.blocked = counter("blocked_total", "Calls and texts that reached nobody because their receiver blocks the sender.")
	m.adopted = counter("calls_adopted_total", "Calls taken over from nodes that have died or have lost their timers.")
	m.moved = counters("calls_moved_total", "Calls asked to leave a relay, by what became of it: drained or lost.", "relay")
	m.lost = counter("call_records_lost_total", "Calls that could not be written down for operators for as long as they were remembered.")
	m.firstMedia = histograms("first_media_seconds", "Time from the answer to the first media of the other side, as each side of a call has reported it, by the caller's region and whether a relay carried it.", prometheus.ExponentialBuckets(0.01, 2, 11))
	m.loss = histograms("loss_ratio", "Share of the other side's packets that got lost, in calls that are over, by the caller's region and whether a relay carried them.", []float64{0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5})
	m.mos = histograms("mos", "How calls that are over sounded at each side: an estimate by the E-model, 1 (bad) to 4.4, by the caller's region and whether a relay carried them.", []float64{1.5, 2, 2.5, 3, 3.5, 3.8, 4, 4.2, 4.3, 4.4})
	reg.MustRegister(m.subscriptions, m.spared, m.blocked, m.missed, m.unwoken, m.adopted, m.moved, m.lost, m.firstMedia, m.loss, m.mos)
	reg.MustRegister(m.sessions, m.connections, m.opened, m.closed, m.refused, m.limited, m.framesIn, m.framesOut,
		m.errors, m.bytesIn, m.bytesOut, m.handled, m.invites, m.merged, m.ended, m.paths, m.answerSeconds,
		m.callSeconds, m.messages, m.delivered, m.undelivered)
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "switchboard", Subsystem: "signaling", Name: name, Help: help})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "switchboard", Subsystem: "signaling", Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "switchboard", Subsystem: "signaling", Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "switchboard", Subsystem: "signaling", Name: name, Help: help, Buckets: buckets})
}

// histograms are by the caller's region and the kind of path that media took: direct,
// relay or none.
func histograms(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "switchboard", Subsystem: "signaling", Name: name, Help: help, Buckets: buckets}, []string{"region", "path"})
}
