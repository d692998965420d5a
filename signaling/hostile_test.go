package signaling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// hostile are frames that no client of ours sends. Each is answered, ignored, or
// closes its connection; none hurts anybody else.
var hostile = map[string]struct {
	frame string
	// One of these: what answers, or with what it closes. Neither: nothing happens.
	answer string
	closes protocol.CloseCode
}{
	"nothing":                       {frame: "", closes: protocol.CloseProtocol},
	"white space":                   {frame: " \n", closes: protocol.CloseProtocol},
	"null":                          {frame: "null", closes: protocol.CloseProtocol},
	"a word":                        {frame: `"ping"`, closes: protocol.CloseProtocol},
	"an array of frames":            {frame: `[{"t":"ping"}]`, closes: protocol.CloseProtocol},
	"two frames in one":             {frame: `{"t":"ping"}{"t":"ping"}`, closes: protocol.CloseProtocol},
	"half a frame":                  {frame: `{"t":"ping"`, closes: protocol.CloseProtocol},
	"no type":                       {frame: `{"id":"1"}`, closes: protocol.CloseProtocol},
	"a type that is no word":        {frame: `{"t":7}`, closes: protocol.CloseProtocol},
	"a long type":                   {frame: `{"t":"` + strings.Repeat("x", 65) + `"}`, closes: protocol.CloseProtocol},
	"a long id":                     {frame: `{"t":"ping","id":"` + strings.Repeat("x", 65) + `"}`, closes: protocol.CloseProtocol},
	"an id that is a number":        {frame: `{"t":"ping","id":1}`, closes: protocol.CloseProtocol},
	"an acknowledgement below 0":    {frame: `{"t":"ack","a":-1}`, closes: protocol.CloseProtocol},
	"half an acknowledgement":       {frame: `{"t":"ack","a":0.5}`, closes: protocol.CloseProtocol},
	"a huge acknowledgement":        {frame: `{"t":"ack","a":1e30}`, closes: protocol.CloseProtocol},
	"invalid UTF-8":                 {frame: "{\"t\":\"settings.get\",\"id\":\"1\xff\"}", closes: protocol.CloseProtocol},
	"UTF-8 cut short":               {frame: "{\"t\":\"ping\",\"d\":\"\xe2\x82\"}", closes: protocol.CloseProtocol},
	"nested beyond all bounds":      {frame: `{"t":"ping","d":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`, closes: protocol.CloseProtocol},
	"nested deeply":                 {frame: `{"t":"settings.get","id":"1","d":{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}`, answer: "ok"},
	"an acknowledgement to come":    {frame: `{"t":"settings.get","id":"1","a":18446744073709551615}`, answer: "ok"},
	"a key twice":                   {frame: `{"t":"settings.get","id":"0","id":"1"}`, answer: "ok"},
	"what only the server says":     {frame: `{"t":"welcome","id":"1","d":{"session":"x"}}`, answer: "unsupported"},
	"an answer":                     {frame: `{"t":"ok","id":"1","re":"1"}`, answer: "unsupported"},
	"a second hello":                {frame: `{"t":"hello","id":"1","d":{"token":"x"}}`, answer: "unsupported"},
	"numbers of the server's":       {frame: `{"t":"settings.get","id":"1","s":7,"re":"x"}`, answer: "ok"},
	"a message that is an array":    {frame: `{"t":"message.send","id":"1","d":[]}`, answer: "malformed"},
	"a message that is null":        {frame: `{"t":"settings.get","id":"1","d":null}`, answer: "ok"},
	"a call's id with a dot":        {frame: `{"t":"call.hangup","id":"1","d":{"call":"a.b"}}`, answer: "invalid"},
	"a call's id with a wildcard":   {frame: `{"t":"call.hangup","id":"1","d":{"call":">"}}`, answer: "invalid"},
	"a text's id with a null":       {frame: `{"t":"message.send","id":"1","d":{"id":"a\u0000","to":"+14155550102","body":"x"}}`, answer: "invalid"},
	"a request without an id":       {frame: `{"t":"settings.get"}`},
	"a bad request without an id":   {frame: `{"t":"call.hangup","d":{"call":"none"}}`},
	"an unknown one without an id":  {frame: `{"t":"from.the.future","d":{}}`},
	"a mailbox acknowledged beyond": {frame: `{"t":"mailbox.ack","id":"1","d":{"seq":9007199254740991}}`, answer: "ok"},
}

func TestHostileFrames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		b := n.connect(w.device(n, bob))
		token := w.device(n, alice)
		for name, h := range hostile {
			a := n.connect(token)
			a.hostile.Store(true)
			if err := a.write([]byte(h.frame)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if h.closes != 0 {
				if code := a.closedWith(); code != h.closes {
					t.Errorf("%s: closed with %d, want %d", name, code, h.closes)
				}
				continue
			}
			if h.answer != "" {
				f := a.next(func(f protocol.Frame) bool { return f.Re == "1" })
				if f.T != protocol.TypeOK && !strings.Contains(string(f.D), `"code":"`+h.answer+`"`) || f.T == protocol.TypeOK && h.answer != "ok" {
					t.Errorf("%s: answered %s %s, want %s", name, f.T, f.D, h.answer)
				}
			}
			if got := ok[protocol.Settings](a, &protocol.SettingsGet{}); got.LastSeen == "" {
				t.Errorf("%s: the session does not go on", name)
			}
		}
		send(t, b, "m1", alice) // others have not noticed
	})
}

// A frame may come in pieces (RFC 6455 §5.4), with control frames between them.
func TestFragmentedFrames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		numbers := strings.Repeat(`"+14155550199",`, 1500)
		frame := fmt.Sprintf(`{"t":"contacts.sync","id":"1","d":{"numbers":[%s"+14155550198"]}}`, numbers)
		a.mu.Lock()
		m, err := a.ws.NextWriter(websocket.TextMessage)
		for i := 0; err == nil && i < len(frame); i += 1000 {
			if _, err = m.Write([]byte(frame[i:min(i+1000, len(frame))])); err == nil {
				err = a.ws.WriteControl(websocket.PingMessage, []byte("between"), time.Now().Add(time.Second))
			}
		}
		if err == nil {
			err = m.Close()
		}
		a.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		f := a.next(func(f protocol.Frame) bool { return f.Re == "1" })
		if f.T != protocol.TypeErr || !strings.Contains(string(f.D), "too_many") && !strings.Contains(string(f.D), "invalid") {
			t.Errorf("answered %s %.200s", f.T, f.D)
		}
		ok[protocol.Settings](a, &protocol.SettingsGet{})
	})
}

// A frame that never ends costs no more than the largest that may be.
func TestEndlessFrame(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		a.mu.Lock()
		m, err := a.ws.NextWriter(websocket.TextMessage)
		for range 100 {
			if err == nil {
				_, err = m.Write([]byte(strings.Repeat(" ", 4096)))
			}
		}
		a.mu.Unlock()
		if code := a.closedWith(); code != websocket.CloseMessageTooBig {
			t.Errorf("closed with %d", code)
		}
	})
}
