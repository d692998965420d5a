package relay

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay/internal/offload"
)

// transport is how a client reaches the relay, as a metric's label.
type transport string

const (
	overUDP transport = "udp"
	overTCP transport = "tcp"
	overTLS transport = "tls"
)

var transports = []transport{overUDP, overTCP, overTLS}

// drop is why a message from a client, or an answer to one, went no further.
type drop string

const (
	dropShape           drop = "shape"           // neither STUN nor ChannelData, or of a length that it does not have
	dropTooLarge        drop = "too_large"       // longer than a datagram that is relayed
	dropMethod          drop = "method"          // STUN, but nothing that the relay does
	dropNoAllocation    drop = "no_allocation"   // data of a client that has none
	dropNoChannel       drop = "no_channel"      // data in a channel that is not bound
	dropNoPermission    drop = "no_permission"   // a packet to an allocation from whom it has not asked for any
	dropBandwidth       drop = "bandwidth"       // more than the allocation, its user or the relay may carry
	dropUnauthenticated drop = "unauthenticated" // a request that must have credentials, or one too short
	dropFingerprint     drop = "fingerprint"     // a wrong FINGERPRINT (RFC 8489 section 14.7)
	dropLimited         drop = "limited"         // the source has had its answers for now
	dropBusy            drop = "busy"            // more came at once than the TURN library takes
	dropLimitedTotal    drop = "limited_total"   // all strangers have had their answers for now
	dropFailedAuth      drop = "failed_auth"     // the source has shown wrong credentials too often for now
	dropLibrary         drop = "library"         // the TURN library has ended
	dropTruncated       drop = "truncated"       // a peer's datagram that is longer than a relayed one
	dropFragment        drop = "dont_fragment"   // a Send indication that asks for what the relay does not do
	dropSend            drop = "send"            // the kernel did not take it
	dropReceive         drop = "receive"         // the kernel gave an error instead of a message
)

var drops = []drop{
	dropShape, dropTooLarge, dropMethod, dropNoAllocation, dropNoChannel, dropNoPermission, dropBandwidth, dropBusy, dropUnauthenticated, dropFingerprint,
	dropLimited, dropLimitedTotal, dropFailedAuth, dropLibrary, dropTruncated, dropFragment, dropSend, dropReceive,
}

// refusal is why an authenticated request was refused.
type refusal string

const (
	refusedDraining    refusal = "draining"
	refusedQuotaUser   refusal = "quota_user"
	refusedQuotaCall   refusal = "quota_call"
	refusedQuotaSource refusal = "quota_source"
	refusedQuotaTotal  refusal = "quota_total"
	refusedUserRate    refusal = "user_rate"      // the user opens allocations too fast
	refusedAttribute   refusal = "attribute"      // one that must be understood, and is not
	refusedPorts       refusal = "ports"          // none is free, or the kernel gave no socket
	refusedTCPRelay    refusal = "tcp_relay"      // RFC 6062
	refusedEvenPort    refusal = "even_port"      // EVEN-PORT, RESERVATION-TOKEN
	refusedFamily      refusal = "family"         // no relay address of it
	refusedMismatch    refusal = "mismatch"       // there is no such allocation, as after a restart
	refusedOwner       refusal = "owner"          // the allocation is somebody else's
	refusedPeer        refusal = "peer"           // the policy denies the peer
	refusedPermissions refusal = "permissions"    // the allocation has all it may have
	refusedPeerRate    refusal = "peer_rate"      // the allocation asks for new peers too fast
	refusedChannels    refusal = "channels"       // the allocation has all it may have
	refusedNumber      refusal = "channel_number" // no channel has it
	refusedMalformed   refusal = "malformed"      // attributes that exclude each other, or an address that is none
)

var refusals = []refusal{
	refusedDraining, refusedQuotaUser, refusedQuotaCall, refusedQuotaSource, refusedQuotaTotal, refusedUserRate, refusedAttribute,
	refusedMalformed, refusedPorts, refusedTCPRelay, refusedEvenPort, refusedFamily, refusedMismatch, refusedOwner,
	refusedPeer, refusedPermissions, refusedPeerRate, refusedChannels, refusedNumber,
}

// verdict is what became of credentials.
type verdict string

const (
	credentialsOK        verdict = "ok"
	credentialsMalformed verdict = "malformed"
	credentialsUnknown   verdict = "unknown_secret"
	credentialsExpired   verdict = "expired"
	credentialsRealm     verdict = "realm"
	credentialsPassword  verdict = "password"
	credentialsStale     verdict = "stale_nonce" // good ones, with a nonce that is too old or another client's
)

var verdicts = []verdict{
	credentialsOK, credentialsMalformed, credentialsUnknown, credentialsExpired, credentialsRealm, credentialsPassword,
	credentialsStale,
}

func verdictOf(err error) verdict {
	switch {
	case errors.Is(err, errUnknownSecret):
		return credentialsUnknown
	case errors.Is(err, errExpired):
		return credentialsExpired
	case errors.Is(err, errRealm):
		return credentialsRealm
	case errors.Is(err, errPassword):
		return credentialsPassword
	}
	return credentialsMalformed
}

// connectionEnd is how a connection was refused, or ended.
type connectionEnd string

const (
	endTotal     connectionEnd = "limit_total"
	endSource    connectionEnd = "limit_source"
	endHandshake connectionEnd = "handshake" // TLS failed or took too long
	endSilent    connectionEnd = "silent"    // no first message in time, or nothing from one without an allocation
	endStalled   connectionEnd = "stalled"   // half a message, or the client reads nothing
	endGarbage   connectionEnd = "garbage"   // neither STUN nor ChannelData
	endClient    connectionEnd = "client"    // the client closed it, or is gone
	endServer    connectionEnd = "server"    // the relay ended
)

var connectionEnds = []connectionEnd{
	endTotal, endSource, endHandshake, endSilent, endStalled, endGarbage, endClient, endServer,
}

// traffic counts relayed packets and their payload.
type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(bytes int) { t.addAll(1, bytes) }

func (t *traffic) addAll(packets, bytes int) {
	t.packets.Add(uint64(packets))
	t.bytes.Add(uint64(bytes))
}

// metrics are the Server's own. Every series exists from the start.
type metrics struct {
	up, down        traffic          // from clients to peers, and back
	byKernel        [2]atomic.Uint64 // packets of these that the kernel relayed
	allocations     map[transport]prometheus.Gauge
	allocationTotal map[transport]prometheus.Counter
	allocationsMax  prometheus.Gauge
	lifetime        prometheus.Histogram
	connections     map[transport]prometheus.Gauge
	connectionEnds  map[connectionEnd]prometheus.Counter
	acceptErrors    prometheus.Counter
	drops           map[drop]prometheus.Counter
	refusals        map[refusal]prometheus.Counter
	credentials     map[verdict]prometheus.Counter
	denied          map[denial]prometheus.Counter
	unauthenticated prometheus.Counter
	redirects       prometheus.Counter
	certificates    map[string]prometheus.Counter
	expiry          prometheus.Gauge
	draining        prometheus.Gauge
	unused          prometheus.Counter
	flows           atomic.Int64
	paths           map[string]prometheus.Gauge // who relays
	offloaded       prometheus.Gauge
	left            map[offload.Left]prometheus.Counter
	notOffloaded    map[notOffloaded]prometheus.Counter
	differences     prometheus.Counter
	kernel          *kernelDrops // nil on a network that is no kernel's

	all []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	m.allocations = gauges(m, "allocations", "Allocations that exist.", "transport", transports)
	m.allocationTotal = counters(m, "allocations_total", "Allocations opened.", "transport", transports)
	m.allocationsMax = gauge(m, "allocations_max", "Allocations that may exist: quotas.allocations.")
	m.lifetime = add(m, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "switchboard_relay_allocation_seconds", Help: "How long allocations existed.",
		Buckets: []float64{1, 10, 60, 300, 900, 1800, 3600, 3 * 3600, 12 * 3600},
	}))
	m.connections = gauges(m, "connections", "Open connections.", "transport", transports[1:])
	m.connectionEnds = counters(m, "connection_ends_total", "Connections refused or ended, by reason.", "reason", connectionEnds)
	m.acceptErrors = counter(m, "accept_errors_total", "Connections that could not be accepted, such as for want of files.")
	m.drops = counters(m, "drops_total", "Messages dropped, by reason.", "reason", drops)
	m.refusals = counters(m, "refusals_total", "Authenticated requests refused, by reason.", "reason", refusals)
	m.credentials = counters(m, "credentials_total", "Credentials checked, by result.", "result", verdicts)
	m.denied = counters(m, "denied_peers_total", "Permissions and packets that the peer policy denied, by reason.", "reason", denials)
	m.unauthenticated = counter(m, "unauthenticated_answers_total", "Answers sent without authentication.")
	m.redirects = counter(m, "redirects_total", "Allocate requests refused with another relay's address.")
	m.certificates = counters(m, "certificate_loads_total", "Times the certificate was read, by result.", "result", []string{"ok", "error"})
	m.expiry = gauge(m, "certificate_expiry_seconds", "When the certificate in use ends, in seconds since 1970; 0 without one.")
	m.draining = gauge(m, "draining", "1 while the relay refuses new allocations because it is to end.")
	add(m, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_relay_channels", Help: "Channels of clients over UDP, whose packets pass the TURN library by.",
	}, func() float64 { return float64(m.flows.Load()) }))
	m.paths = gauges(m, "data_path", "1 for what relays packets of channels over UDP.", "path", dataPaths[1:])
	m.offloaded = gauge(m, "offload_channels", "Those of channels whose packets the kernel relays.")
	m.left = counters(m, "offload_left_total", "Packets of such channels that the kernel left to this process, by reason; torn ones were lost.", "reason", offload.Lefts)
	m.notOffloaded = counters(m, "offload_refusals_total", "Channels that the kernel was not given, or not left, by reason.", "reason", notOffloadeds)
	m.differences = counter(m, "offload_differences_total", "Entries of the kernel's that were not what they should be, and were put right.")
	m.unused = counter(m, "unused_total", "Allocations ended because no media went through them while the relay drained.")
	for _, d := range []struct {
		name   string
		t      *traffic
		kernel *atomic.Uint64
	}{{"up", &m.up, &m.byKernel[0]}, {"down", &m.down, &m.byKernel[1]}} {
		total(m, "packets_total", "Packets relayed: up to peers, down to clients.", d.name, &d.t.packets)
		total(m, "bytes_total", "Payload relayed: up to peers, down to clients.", d.name, &d.t.bytes)
		total(m, "offload_packets_total", "Those of packets_total that the kernel relayed.", d.name, d.kernel)
	}
	return m
}

// addKernel adds what the kernel counts.
func (m *metrics) addKernel() { m.kernel = add(m, newKernelDrops()) }

// register registers all with r, or says what is there already.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// opened and closed follow an allocation.
func (m *metrics) opened(t transport) {
	m.allocations[t].Inc()
	m.allocationTotal[t].Inc()
}

func (m *metrics) closed(t transport, after time.Duration) {
	m.allocations[t].Dec()
	m.lifetime.Observe(after.Seconds())
}

func add[C prometheus.Collector](m *metrics, c C) C {
	m.all = append(m.all, c)
	return c
}

func counter(m *metrics, name, help string) prometheus.Counter {
	return add(m, prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_relay_" + name, Help: help}))
}

func gauge(m *metrics, name, help string) prometheus.Gauge {
	return add(m, prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_relay_" + name, Help: help}))
}

func counters[L ~string](m *metrics, name, help, label string, values []L) map[L]prometheus.Counter {
	vec := add(m, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "switchboard_relay_" + name, Help: help}, []string{label}))
	out := make(map[L]prometheus.Counter, len(values))
	for _, v := range values {
		out[v] = vec.WithLabelValues(string(v))
	}
	return out
}

func gauges[L ~string](m *metrics, name, help, label string, values []L) map[L]prometheus.Gauge {
	vec := add(m, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "switchboard_relay_" + name, Help: help}, []string{label}))
	out := make(map[L]prometheus.Gauge, len(values))
	for _, v := range values {
		out[v] = vec.WithLabelValues(string(v))
	}
	return out
}

func total(m *metrics, name, help, direction string, n *atomic.Uint64) {
	add(m, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "switchboard_relay_" + name, Help: help, ConstLabels: prometheus.Labels{"direction": direction},
	}, func() float64 { return float64(n.Load()) }))
}
