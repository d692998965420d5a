package natsnode

import (
	"context"
	"regexp"

	"github.com/nats-io/nats.go/jetstream"
)

// placed is a JetStream whose streams are made in one cluster of several that
// gateways join. Streams that are there stay where they are.
type placed struct {
	jetstream.JetStream
	cluster string
}

// CreateStream makes a stream in the cluster.
func (p placed) CreateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	c.Placement = &jetstream.Placement{Cluster: p.cluster}
	return p.JetStream.CreateStream(ctx, c)
}

// place returns js, with new streams in the configured cluster, if one is.
func (c Config) place(js jetstream.JetStream) jetstream.JetStream {
	if c.Placement == "" {
		return js
	}
	return placed{js, c.Placement}
}

var isClusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
