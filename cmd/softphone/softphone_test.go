package main

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-audio/audio"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"switchboard/cmd/softphone/internal/g711"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"softphone": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// TestTrial is the main job, end to end: the real server and two phones, all
// of them processes. Calls go directly and through the relay, the tone that one
// side plays is in the recording of the other, and a text outlives the server.
func TestTrial(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "switchboard/cmd/switchboard", "switchboard/cmd/softphone").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "softphone"), "-json", "trial", "-config", "../../configs/dev.yaml")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("trial: %v\n%s", err, out)
	}
	steps := map[string]map[string]any{}
	for line := range strings.Lines(string(out)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if m["event"] == "step" {
			steps[m["what"].(string)] = m
		}
	}
	for _, what := range []string{
		"direct call", "call set up while it rings", "relay-only call, UDP to the relay", "relay-only call, TCP to the relay",
		"call that nobody answers", "both call at once", "text to a phone that is away", "server killed and started again", "text delivered late",
	} {
		if s := steps[what]; s == nil || s["ok"] != true {
			t.Errorf("%s: %v", what, s)
		}
	}
}

// With relays alone until the answer, the phone goes to nobody before: it looks for
// all kinds of candidates, and what the other side calls a relay may be its own.
func TestNothingIsPreparedAmongStrangers(t *testing.T) {
	for policy, want := range map[protocol.ICEPolicy]bool{protocol.PolicyRelayFirst: false, protocol.PolicyAll: true} {
		caller, err := newPhone(protocol.ICE{Policy: policy}, protocol.Caller, mediaOptions{}, &output{w: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		callee, err := newPhone(protocol.ICE{}, protocol.Callee, mediaOptions{}, &output{w: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		offer, err := caller.offer()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := callee.answer(offer)
		if err != nil {
			t.Fatal(err)
		}
		if err := caller.handle(client.Prepared{SDP: answer}); err != nil {
			t.Error(err)
		}
		if got := caller.pc.RemoteDescription() != nil; got != want {
			t.Errorf("policy %q: the pre-answer was taken: %v", policy, got)
		}
		if err := caller.handle(client.Answered{SDP: answer}); err != nil {
			t.Error(err)
		}
		if caller.pc.RemoteDescription() == nil {
			t.Errorf("policy %q: the answer was not taken", policy)
		}
		for _, p := range []*phone{caller, callee} {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Another device has answered than the one that is prepared, or it is not known
// which: there is a new connection.
func TestBeginsAnewWithAnother(t *testing.T) {
	for name, answered := range map[string]string{"another": "v=0 another", "not known": ""} {
		t.Run(name, func(t *testing.T) {
			p, err := newPhone(protocol.ICE{}, protocol.Caller, mediaOptions{}, &output{w: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if _, err := p.offer(); err != nil {
				t.Fatal(err)
			}
			if answered != "" {
				p.prepared = "v=0 prepared"
			}
			before := p.pc
			if err := p.handle(client.Answered{SDP: answered}); err != nil {
				t.Fatal(err)
			}
			if p.pc == before || before.ConnectionState() != webrtc.PeerConnectionStateClosed || len(p.requests) != 1 {
				t.Errorf("it goes on with the old connection, or does not offer another: %d requests", len(p.requests))
			}
		})
	}
}

func TestDownmix(t *testing.T) {
	// One second of 440 Hz, left and right of opposite loudness, at 44.1 kHz.
	const rate = 44100
	data := make([]int, 2*rate)
	for i := range rate {
		v := math.Sin(2 * math.Pi * 440 * float64(i) / rate)
		data[2*i], data[2*i+1] = int(20000*v), int(4000*v)
	}
	got := downmix(&audio.IntBuffer{Data: data, Format: &audio.Format{NumChannels: 2, SampleRate: rate}, SourceBitDepth: 16})
	if len(got) != sampleRate {
		t.Fatalf("%d samples, want %d", len(got), sampleRate)
	}
	at, all := goertzel(got, 440)
	if at/all < 0.95 {
		t.Errorf("%.2f of the energy is at 440 Hz", at/all)
	}
	if rms := math.Sqrt(all / sampleRate); rms < 7500 || rms > 9000 {
		t.Errorf("loudness %.0f, want about 8485", rms)
	}
}

// Samples of eight bits, alone, have no sign.
func TestDownmixOfEightBits(t *testing.T) {
	got := downmix(&audio.IntBuffer{Data: []int{128, 255, 0}, Format: &audio.Format{NumChannels: 1, SampleRate: sampleRate}, SourceBitDepth: 8})
	if want := []int16{0, 127 << 8, -128 << 8}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}

// What is out of order counts as a repeat for the other side, so that a lone
// candidate would be lost to the end of candidates.
func TestRequestsAreMadeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phone{requests: make(chan request, maxRequests), out: &output{w: io.Discard}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var made []int
		for i := range 100 {
			p.request("n", func(context.Context) error {
				time.Sleep(time.Duration(100-i) * time.Second) // each is quicker than the one before
				if made = append(made, i); i == 99 {
					cancel()
				}
				return nil
			})
		}
		p.makeRequests(ctx)
		if !slices.IsSorted(made) || len(made) != 100 {
			t.Errorf("made %v", made)
		}
	})
}

func TestToneShare(t *testing.T) {
	dir := t.TempDir()
	file := func(hz float64, d time.Duration) string {
		f := filepath.Join(dir, "x.wav")
		if err := writeTone(f, hz, d); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if s, err := toneShare(file(440, 2*time.Second), 440); err != nil || s < 0.99 {
		t.Errorf("the tone itself: %.2f, %v", s, err)
	}
	if s, err := toneShare(file(620, 2*time.Second), 440); err != nil || s > 0.05 {
		t.Errorf("another tone: %.2f, %v", s, err)
	}
	if _, err := toneShare(file(0, 2*time.Second), 440); err == nil {
		t.Error("silence is taken for a tone")
	}
	if _, err := toneShare(file(440, 500*time.Millisecond), 440); err == nil {
		t.Error("half a second is enough")
	}
}

func TestSequence(t *testing.T) {
	for name, c := range map[string]struct {
		in   []uint16
		lost uint64
	}{
		"in order":       {[]uint16{1, 2, 3}, 0},
		"one missing":    {[]uint16{1, 2, 4}, 1},
		"late":           {[]uint16{1, 3, 2, 4}, 0},
		"over the edge":  {[]uint16{65534, 65535, 0, 1}, 0},
		"lost at edge":   {[]uint16{65534, 1}, 2},
		"late over edge": {[]uint16{65535, 1, 0, 2}, 0},
	} {
		var s sequence
		var lost uint64
		for _, n := range c.in {
			lost = s.saw(n)
		}
		if lost != c.lost {
			t.Errorf("%s: %d lost, want %d", name, lost, c.lost)
		}
	}
}

// The recording keeps time: what was lost is silence, what came too late is
// left out.
func TestRecording(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.wav")
	l, err := newListener(file)
	if err != nil {
		t.Fatal(err)
	}
	loud := make([]byte, frameLen)
	for i := range loud {
		loud[i] = g711.EncodeMu(8000)
	}
	came := []int{0, 1, 4, 3, 5, 7, 8, 9, 10, 11, 12, 6} // 2 is lost, 3 is late, 6 too late
	for _, n := range came {
		l.sound(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(1000 + n*frameLen)}, Payload: loud}, g711.DecodeMu)
	}
	if l.lost != 1 || l.packets != uint64(len(came)) {
		t.Errorf("%d lost of %d, want 1 of %d", l.lost, l.packets, len(came))
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	got, err := readWAV(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 13*frameLen {
		t.Fatalf("%d samples, want %d", len(got), 13*frameLen)
	}
	for n, want := range []bool{true, true, false, true, true, true, false, true, true, true, true, true, true} {
		if is := got[n*frameLen+10] > 7000; is != want {
			t.Errorf("frame %d: sound %v, want %v", n, is, want)
		}
	}
}

func TestTransportOf(t *testing.T) {
	for url, want := range map[string]string{
		"turn:h:3478": "udp", "turn:h:3478?transport=udp": "udp", "turn:h:3478?transport=tcp": "tcp", "turns:h:5349?transport=tcp": "tls",
	} {
		if got := transportOf(url); got != want {
			t.Errorf("transportOf(%s) = %s, want %s", url, got, want)
		}
	}
}
