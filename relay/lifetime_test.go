package relay

import (
	"testing"
	"time"
)

// Clients count on these (RFC 8656 sections 6, 9 and 12).
func TestStandardLifetimes(t *testing.T) {
	t.Parallel()
	if want := (lifetimes{allocation: 600 * time.Second, permission: 300 * time.Second, channel: 600 * time.Second}); standardLifetimes != want {
		t.Errorf("%+v, want %+v", standardLifetimes, want)
	}
	if maxLifetime > time.Hour || maxLifetime < standardLifetimes.allocation {
		t.Errorf("at most %v", maxLifetime)
	}
	c := Default()
	c.Development, c.Secrets = true, []Secret{{ID: "one", Key: []byte("0123456789abcdef")}}
	s, err := New(c, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if l := s.libraryConfig(overUDP); l.AllocationLifetime != 600*time.Second || l.PermissionTimeout != 300*time.Second || l.ChannelBindTimeout != 600*time.Second {
		t.Errorf("the library is told %v, %v, %v", l.AllocationLifetime, l.PermissionTimeout, l.ChannelBindTimeout)
	}
}
