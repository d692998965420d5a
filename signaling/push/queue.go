package push

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/signaling/internal/stream"
)

// Queue holds pushes until they have left. Make one with [Open]. It is the
// collector of its own metrics. Its methods may be called concurrently.
type Queue struct {
	*metrics

	// Static after Open.
	config  Config
	js      jetstream.JetStream
	log     *slog.Logger
	senders map[Kind]sender
	vapid   VAPID
	gone    func(context.Context, Device, Target)
	again   time.Duration // the least wait between two attempts
}

// Deps are what a queue works with.
type Deps struct {
	JetStream jetstream.JetStream
	// WebhookSecret signs what goes to the operator's service.
	WebhookSecret []byte
	// VAPID is the installation's key for Web Push.
	VAPID VAPID
	// Gone is told of targets that lead nowhere any more. It may be nil.
	Gone func(context.Context, Device, Target)
	Log  *slog.Logger
}

const (
	streamQueue = "PUSH"
	streamDead  = "PUSHDEAD"
	// requestTimeout bounds one request to NATS.
	requestTimeout = 5 * time.Second
)

// Open makes the queue's streams, or takes those that are there. It starts
// nothing: that is for [Queue.Run].
func Open(ctx context.Context, c Config, d Deps) (*Queue, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{config: c, js: d.JetStream, log: d.Log, senders: map[Kind]sender{}, vapid: d.VAPID, gone: d.Gone, again: time.Second, metrics: newMetrics()}
	if q.gone == nil {
		q.gone = func(context.Context, Device, Target) {}
	}
	if err := q.openSenders(d); err != nil {
		return nil, err
	}
	for _, want := range []jetstream.StreamConfig{queueStream(c.Replicas), deadStream(c.Replicas)} {
		if err := stream.Prepare(ctx, q.js, want, nil); err != nil {
			return nil, fmt.Errorf("stream %s: %w: %w", want.Name, ErrUnavailable, err)
		}
	}
	return q, nil
}

func (q *Queue) openSenders(d Deps) error {
	if q.config.Webhook.URL != "" {
		w, err := newWebhook(q.config, d.WebhookSecret)
		if err != nil {
			return err
		}
		q.senders[Webhook] = w
	}
	if q.config.WebPush.Subject != "" {
		b, err := newBrowser(q.config, d.VAPID)
		if err != nil {
			return err
		}
		q.senders[WebPush] = b
	}
	return nil
}

func queueStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamQueue, Description: "pushes to devices that are away", Subjects: []string{"push.>"},
		Storage: jetstream.FileStorage, Replicas: max(1, replicas), Retention: jetstream.WorkQueuePolicy,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld, MaxAge: texts, MaxMsgSize: 16 << 10,
		AllowMsgTTL: true, AllowDirect: true,
	}
}

func deadStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamDead, Description: "pushes that could not be brought", Subjects: []string{"pushdead.>"},
		Storage: jetstream.FileStorage, Replicas: max(1, replicas), Retention: jetstream.LimitsPolicy,
		MaxMsgs: 10_000, Discard: jetstream.DiscardOld, MaxAge: 7 * 24 * time.Hour, MaxMsgSize: 16 << 10, AllowDirect: true,
	}
}

// PublicKey is what browsers subscribe with, "" without Web Push.
func (q *Queue) PublicKey() string {
	if q.senders[WebPush] == nil {
		return ""
	}
	return q.vapid.Public()
}

// Takes reports whether pushes of a kind can leave.
func (q *Queue) Takes(k Kind) bool { return q.senders[k] != nil }

// Put stores a push and returns once it is synced. A push of the same subject
// that has not left is replaced. A target that cannot be is a [*TargetError]; a
// way that is turned off is no error, and does nothing.
func (q *Queue) Put(ctx context.Context, d Device, t Target, w Wake) error {
	j, err := newJob(d, t, w, time.Now())
	if err != nil {
		return err
	}
	if q.senders[t.Kind] == nil {
		return nil
	}
	life := time.Until(j.Expires)
	if life < time.Second {
		return nil // of no use any more
	}
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	m := nats.NewMsg(j.subject())
	m.Data = data
	m.Header.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(life.Seconds()))+"s")
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := q.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	q.metrics.queued.WithLabelValues(string(t.Kind), string(w.Reason)).Inc()
	return nil
}
