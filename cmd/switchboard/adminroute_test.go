package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"switchboard/signaling/admin"
	"switchboard/signaling/client"
)

// TestAdminRoute explains calls between numbers of two regions, whose relays come and
// go, and holds what it says against what a call is given.
func TestAdminRoute(t *testing.T) {
	nats := startNATS(t).ClientURL()
	sig := testNode(t, "{node: one, region: eu, roles: [signaling], nats: {url: '"+nats+"', replicas: 1},"+
		" regions: {list: [{name: eu, countries: [DE]}, {name: us, countries: ['+1']}], default: eu}, ice: {turn_urls: ['turn:192.0.2.9:3478']}}")
	var log safeBuffer
	sig.log = newLogger(sig.config.Log, &log)
	p := start(t, sig)
	o := at(t, sig, p)
	o.must([]string{`^no relay is known$`, `^always  turn:192\.0\.2\.9:3478, by ice\.turn_urls$`}, "route", alice, bob)
	for name, settings := range map[string]string{"eu-1": ", region: eu, zone: a", "eu-2": ", region: eu, zone: a", "us-1": ", region: us, zone: b"} {
		post(t, nats, name, sig.config.SecretFile, settings)
	}
	eventually(t, func() bool {
		_, out, _ := o.run("relays")
		return strings.Contains(out, "eu-1.") && strings.Contains(out, "eu-2.") && strings.Contains(out, "us-1.")
	})
	// Nobody is there, and nobody has the numbers.
	o.must([]string{
		`^region  eu, by the country of its number$`,
		`^caller  …456 \(DE\), nobody has this number$`, `^ +not connected, so that its round trips and its address are not known: eu, by the country of its number$`,
		`^callee  …101 \(US\), nobody has this number$`,
		`^eu-\d +eu +a +near +0 of \d+ +50 % +first +of the call's region; first of those in order$`,
		`^eu-\d +eu +a +near +0 of \d+ +50 % +- +of the call's region; passed over: of the first one's zone$`,
		`^us-1 +us +b +far +0 of \d+ +0 % +second +of another region than eu; the next that does not fail together with the first$`,
	}, "route", european, alice)
	o.must([]string{`^region  us, by the country of its number$`, `^us-1 +us +b +near +0 of \d+ +100 % +first `}, "route", alice, european)
	o.must([]string{`…101 .*\n(.*\n)*callee  …456`}, "route", "-region", "us", "(415) 555-0101", european)
	o.stdin = alice + "\n" + european + "\n"
	o.must([]string{`^caller  …101 `, `^callee  …456 `}, "route", "-", "-")

	// A device that is there counts, and is given what was said.
	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, european))
	await[client.Connected](t, a)
	await[client.Connected](t, b)
	out := o.must([]string{
		`^region  us, by the country of its number, of the caller's device 1$`,
		`^ +device 1, connected at one-\w+: us, by the country of its number$`, `^ +measured nothing; its address is in no country that is known$`,
		`^ +uses relays alone until the call is answered`,
	}, "route", alice, european)
	for _, number := range []string{alice, european} {
		if strings.Contains(out, number[1:]) {
			t.Errorf("a number is shown:\n%s", out)
		}
	}
	o.fails(exitFailed, "no such device that is connected", "route", "-device", "2", alice, european)
	o.fails(exitFailed, "caller and callee are the same number", "route", alice, alice)
	o.fails(exitUsage, "NUMBER is missing", "route", alice)

	call, in := talkTo(t, a, b, european)
	var r admin.Route
	if err := json.Unmarshal([]byte(o.must(nil, "route", "-call", call.ID, "-json", alice, european)), &r); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, l := range r.Relays {
		if l.Verdict != "first" && !strings.HasPrefix(l.Verdict, "second") {
			continue
		}
		said = append(said, l.Name)
	}
	want := regexp.MustCompile(`msg="relays chosen" call=` + call.ID + ` region=us rule=number relays="\[` + strings.Join(said, " ") + `\]"`)
	if n := len(want.FindAllString(log.String(), -1)); n != 1 || len(said) != 2 {
		t.Errorf("%d lines of the log have that the call was given %v", n, said)
	}
	if strings.Count(log.String(), "relays chosen") != 1 {
		t.Error("relays are said to be chosen more than once")
	}
	for _, number := range []string{alice, european} {
		if strings.Contains(log.String(), number[1:]) {
			t.Error("a number is in the log")
		}
	}
	ctx := t.Context()
	if err := in.Hangup(ctx, ""); err != nil {
		t.Fatal(err)
	}
}
