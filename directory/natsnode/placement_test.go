package natsnode

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestPlacementIsValidated(t *testing.T) {
	for _, test := range []struct{ url, placement, want string }{
		{"nats://n1:4222", "eu", ""},
		{"nats://n1:4222", "", ""},
		{"", "eu", "nats.placement: is for a cluster"},
		{"nats://n1:4222", "eu west", "nats.placement: must be the name of a NATS cluster"},
		{"nats://n1:4222", strings.Repeat("e", 65), "nats.placement: must be the name of a NATS cluster"},
	} {
		c := Default()
		c.URL, c.Placement = test.url, test.placement
		if err := c.Validate(); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q at %q: %v, want %q", test.placement, test.url, err, test.want)
		}
	}
}

// TestPlacementIsAskedFor looks at what a stream is made with. One server alone
// has no choice and takes it all the same.
func TestPlacementIsAskedFor(t *testing.T) {
	c := Default()
	c.Dir = t.TempDir()
	n, err := Open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	for _, placement := range []string{"", "eu"} {
		c.Placement = placement
		s, err := c.place(n.JetStream()).CreateStream(t.Context(), jetstream.StreamConfig{Name: "S" + placement, Subjects: []string{"s" + placement}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().Config.Placement; (got != nil) != (placement != "") || got != nil && got.Cluster != placement {
			t.Errorf("asked for %q, got %+v", placement, got)
		}
	}
}
