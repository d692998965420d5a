package mailbox

import (
	"errors"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
)

func message(seq, last, pending int, st string) *nats.Msg {
	m := nats.NewMsg("reply")
	m.Header.Set("Nats-Last-Sequence", strconv.Itoa(last))
	m.Header.Set("Nats-Num-Pending", strconv.Itoa(pending))
	if st != "" {
		m.Header.Set("Status", st)
		return m
	}
	m.Header.Set("Nats-Sequence", strconv.Itoa(seq))
	m.Header.Set("Nats-Time-Stamp", "2026-01-02T03:04:05.678Z")
	m.Data = []byte("x")
	return m
}

func TestDecodeBatch(t *testing.T) {
	a, b, c, end := message(3, 0, 2, ""), message(5, 3, 1, ""), message(9, 5, 0, ""), message(0, 9, 0, "204")
	noTime := message(3, 0, 0, "")
	noTime.Header.Del("Nats-Time-Stamp")
	for name, test := range map[string]struct {
		msgs []*nats.Msg
		want int
		more bool
		err  bool
	}{
		"whole":            {msgs: []*nats.Msg{a, b, c, end}, want: 3},
		"more":             {msgs: []*nats.Msg{a, message(0, 3, 2, "204")}, want: 1, more: true},
		"nothing":          {msgs: []*nats.Msg{message(0, 0, 0, "404")}},
		"first lost":       {msgs: []*nats.Msg{b, c, end}, err: true},
		"one lost":         {msgs: []*nats.Msg{a, c, end}, err: true},
		"last lost":        {msgs: []*nats.Msg{a, b, end}, err: true},
		"out of order":     {msgs: []*nats.Msg{b, a, c, end}, err: true},
		"refused":          {msgs: []*nats.Msg{message(0, 0, 0, "408")}, err: true},
		"nobody there":     {msgs: []*nats.Msg{message(0, 0, 0, "503")}, err: true},
		"without a number": {msgs: []*nats.Msg{message(0, 0, 0, ""), end}, err: true},
		"without a time":   {msgs: []*nats.Msg{noTime, message(0, 3, 0, "204")}, err: true},
	} {
		items, more, err := decodeBatch(test.msgs)
		if len(items) != test.want || more != test.more || (err != nil) != test.err {
			t.Errorf("%s: %d items, more %v, err %v", name, len(items), more, err)
		}
	}
	if _, _, err := decodeBatch([]*nats.Msg{message(0, 0, 0, "503")}); !errors.Is(err, errNobody) {
		t.Errorf("got error %v", err)
	}
}
