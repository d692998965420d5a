package processes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/scenario"
)

// A network that was cut comes back at its time, whatever else happens meanwhile.
func TestTimeLine(t *testing.T) {
	var got []string
	for _, a := range timeLine([]scenario.Event{
		{At: time.Second, Cut: &scenario.Cut{Network: "home", For: 5 * time.Second}},
		{At: 2 * time.Second, Kill: "relay"},
		{At: 10 * time.Second, Start: "relay"},
	}) {
		got = append(got, fmt.Sprint(a.at, " ", a.event, " ", a.ends))
	}
	want := []string{"1s cut home for 5s false", "2s kill relay false", "6s cut home for 5s true", "10s start relay false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("it is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
