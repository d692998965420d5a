package web_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// line is the network between a page and the server, which can be down.
type line struct {
	target string
	ln     net.Listener
	tasks  sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{target: target, ln: ln}
	l.tasks.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.tasks.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.cut(true)
		l.tasks.Wait()
	})
	return l
}

func (l *line) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	l.conns = append(l.conns, c, far)
	l.mu.Unlock()
	l.tasks.Go(func() {
		_, _ = io.Copy(far, c) // ends with either
		far.Close()
	})
	_, _ = io.Copy(c, far)
}

// cut breaks all connections, and with down lets no others through.
func (l *line) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// gaps are the longest times without a packet of sound and without a picture, in
// ms, since watch, and Stall the longest for which the page itself did not get to run.
type gaps struct{ Sound, Picture, Stall float64 }

// longest is the longer of both, less what the pages' not running may have made of it.
func (g gaps) longest(other gaps) float64 { return max(g.Sound, g.Picture) - max(g.Stall, other.Stall) }

const watchMedia = `(() => {
	const now = () => performance.now()
	const seen = { sound: now(), picture: now() }, longest = { sound: 0, picture: 0 }
	const gap = (what) => Math.max(longest[what], now() - seen[what])
	const note = (what) => { longest[what] = gap(what); seen[what] = now() }
	let stall = 0, ran = now()
	window.gaps = () => ({ sound: gap('sound'), picture: gap('picture'), stall }) // those that go on, too
	gaps.since = (what) => now() - seen[what]
	const last = { audio: 0, video: 0 }
	setInterval(async () => {
		stall = Math.max(stall, now() - ran - 50)
		ran = now()
		for (const s of (await switchboard.call?.pc?.getStats())?.values() || []) {
			if (s.type !== 'inbound-rtp') continue
			const n = s.kind === 'audio' ? s.packetsReceived : s.framesDecoded
			if (n > last[s.kind]) note(s.kind === 'audio' ? 'sound' : 'picture')
			last[s.kind] = n
		}
	}, 50)
})()`

// The socket of one side is away for ten seconds in the call, and then its network
// changes: the browser says that it is online again, and the sockets that it had
// lead nowhere. Picture and sound go on throughout. The addresses stay here; another
// test changes one.
func TestSocketIsAwayAndTheNetworkChanges(t *testing.T) {
	h := newHouse(t)
	l := newLine(t, h.addr)
	elsewhere := *h
	elsewhere.url = "http://" + strings.Replace(l.ln.Addr().String(), "127.0.0.1", "localhost", 1)
	ann, bob := h.newPerson(newPageIn(t, 0, "Ann"), ""), elsewhere.newPerson(newPageIn(t, 1, "Bob"), "")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	ann.sees()
	bob.sees()
	for _, p := range []*person{ann, bob} {
		if ms := value[float64](p.page, `switchboard.call.answerToMediaMs ?? -1`); ms < 0 {
			t.Errorf("%s: it was not noted when media came", p.name)
		} else {
			t.Logf("%s: first media %.0f ms after the answer", p.name, ms)
		}
		p.eval(`window.went = []; switchboard.call.addEventListener('change', (e) => went.push(e.target.state))`)
		p.eval(watchMedia)
	}

	l.cut(true)
	bob.says("call-note", "The server is away; your call goes on.")
	time.Sleep(10 * time.Second) // that is how long it is away
	l.cut(false)
	bob.online()
	ann.sees()
	bob.sees()

	const ufrag = `switchboard.call.pc.localDescription.sdp.match(/ice-ufrag:(\S+)/)[1]`
	before := value[string](bob.page, ufrag)
	l.cut(false)
	bob.eval(`dispatchEvent(new Event('online'))`)
	bob.wait(ufrag + ` !== '` + before + `' && switchboard.call.pc.signalingState === 'stable' && switchboard.client.state === 'online'`)
	ann.sees()
	bob.sees()
	for _, p := range []*person{ann, bob} {
		if got := value[[]string](p.page, `went.filter((s) => s !== 'active')`); len(got) > 0 {
			t.Errorf("%s: the call went through %v", p.name, got)
		}
		g := value[gaps](p.page, `gaps()`)
		t.Logf("%s: at most %.0f ms without sound, %.0f ms without a picture", p.name, g.Sound, g.Picture)
		if g.Sound > 3000 || g.Picture > 3000 {
			t.Errorf("%s: media stopped for %+v ms", p.name, g)
		}
	}
	ann.click("hangup")
	bob.wait(`switchboard.call === null || switchboard.call.reason === 'hangup'`)
	ann.idle()
	bob.idle()
}
