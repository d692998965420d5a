package web_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// These tests use the demo page as people do, in two browsers, against the real
// server.

// two gives two people with a number each.
func two(t *testing.T, query string) (h *house, ann, bob *person) {
	t.Helper()
	h = newHouse(t)
	return h, h.newPerson(newPageIn(t, 0, "Ann"), query), h.newPerson(newPageIn(t, 1, "Bob"), query)
}

func sendKeys(id, keys string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.ID(id), keys)
}

func TestRegistration(t *testing.T) {
	h := newHouse(t)
	p := newPage(t, "page")
	p.open(h.url)
	p.write("number", "123")
	p.click("request-code")
	p.says("number-error", "That number is too short.")

	p.eval(`document.getElementById('country').value = 'US'`)
	p.write("number", "(201) 555-0199")
	p.click("request-code")
	p.says("code-number", "+1 201 555 0199")
	code := h.code("+12015550199")
	p.do(sendKeys("code", strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)))
	p.wait(`document.getElementById('code-error').textContent.startsWith('That code is not right.')`)
	p.eval(`document.getElementById('code').select()`)
	p.do(sendKeys("code", code))
	p.says("own-number", "+1 201 555 0199")
	p.says("status-text", "Ready for calls")

	p.open(h.url + "/?") // and it stays
	p.says("own-number", "+1 201 555 0199")
	p.says("status-text", "Ready for calls")
}

func TestVideoCallBothWays(t *testing.T) {
	_, ann, bob := two(t, "")
	for _, c := range []struct{ caller, callee *person }{{ann, bob}, {bob, ann}} {
		// Written as at home: without the country code.
		c.caller.dial(c.callee.number[2:], "dial-video")
		c.callee.says("incoming-what", "Incoming video call")
		c.caller.says("call-state", "Ringing…")
		c.callee.click("accept-video")
		for _, p := range []*person{c.caller, c.callee} {
			p.talking()
			p.sees()
			p.wait(`switchboard.call.remoteVideo && document.getElementById('remote-video').videoWidth > 0`)
			p.wait(`document.getElementById('call-path').textContent.startsWith('direct')`)
			p.wait(`document.getElementById('quality').dataset.quality > 0`)
		}
		c.callee.click("hangup")
		c.caller.wait(`switchboard.call.reason === 'hangup' && !switchboard.call.mine`)
		ann.idle()
		bob.idle()
	}
	for _, p := range []*person{ann, bob} {
		p.wait(`switchboard.store.calls.length === 2 && switchboard.store.calls.every((c) => c.answered && c.video && c.duration > 0)`)
		p.goTo("recents")
		p.wait(`document.querySelectorAll('#recents li').length === 2`)
	}
}

func TestRelayOnlyCall(t *testing.T) {
	_, ann, bob := two(t, "?relay")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	for _, p := range []*person{ann, bob} {
		p.talking()
		p.sees()
		// The browser may settle on either way to the relay; which one answers
		// first is not ours to say.
		p.wait(`/^relayed over (UDP|TCP)$/.test(document.getElementById('call-path').textContent)`)
		got := value[string](p.page, `[switchboard.call.path.local, switchboard.call.path.relay].join()`)
		if got != "relay,udp" && got != "relay,tcp" {
			t.Errorf("%s: path %s", p.name, got)
		}
		n := value[int](p.page, `[...(await switchboard.call.pc.getStats()).values()].filter((s) => s.type === 'local-candidate' && s.candidateType !== 'relay').length`)
		if n > 0 {
			t.Errorf("%s: %d candidates that are no relay's", p.name, n)
		}
	}
	ann.click("hangup")
	ann.idle()
	bob.idle()
}

func TestDeclined(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-call")
	bob.says("incoming-what", "Incoming call")
	bob.click("decline")
	ann.says("call-state", "Declined")
	ann.click("ended-close")
	ann.idle()
	bob.idle()
	bob.wait(`document.getElementById('missed-count').hidden`)
}

func TestMissedCall(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-call")
	bob.see("incoming")
	ann.click("hangup")
	bob.idle()
	bob.says("missed-count", "1")
	bob.goTo("recents")
	bob.wait(`document.querySelector('#recents .missed small').textContent === 'Missed'`)
	bob.wait(`document.getElementById('missed-count').hidden`)
}

func TestMissedCallWhileAway(t *testing.T) {
	_, ann, bob := two(t, "")
	bob.leave()
	ann.dial(bob.number, "dial-call")
	ann.wait(`['trying', 'ended'].includes(switchboard.call.state)`)
	ann.eval(`switchboard.call.hangup()`)
	bob.come()
	bob.says("missed-count", "1")
}

func TestUnknownNumber(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	ann.dial("12", "dial-call")
	ann.says("call-state", "That number is too short.")
	ann.click("ended-close")
	ann.dial(ann.number, "dial-call")
	ann.says("call-state", "That is your own number.")
}

func TestTextWhileAway(t *testing.T) {
	_, ann, bob := two(t, "")
	bob.leave()
	ann.goTo("chat=%2B" + bob.number[1:])
	ann.write("compose", "Are you there?\r")
	ann.wait(`document.querySelector('#messages .text.out')?.dataset.state === 'stored'`)
	ann.see("compose")
	ann.write("compose", "Call me")
	ann.click("send")
	ann.wait(`document.querySelectorAll('#messages .text.out[data-state=stored]').length === 2`)

	bob.come()
	bob.says("unread-count", "2")
	ann.wait(`document.querySelectorAll('#messages .text.out[data-state=delivered]').length === 2`)
	bob.goTo("chat=%2B" + ann.number[1:])
	bob.wait(`[...document.querySelectorAll('#messages .text.in p')].map((p) => p.textContent).join('|') === 'Are you there?|Call me'`)
	ann.wait(`document.querySelectorAll('#messages .text.out[data-state=read]').length === 2`)
	bob.wait(`document.getElementById('unread-count').hidden`)

	bob.write("compose", "x") // typing, and then something better
	ann.see("typing")
	ann.wait(`document.getElementById('chat-presence').textContent === 'online'`)
	bob.write("compose", "On my way")
	bob.click("send")
	ann.wait(`document.querySelector('#messages .text.in p')?.textContent === 'On my way'`)
	ann.wait(`document.getElementById('typing').hidden`)

	ann.come() // what was said stays
	ann.wait(`switchboard.store.conversations[0].texts.length === 3`)
}

func TestCameraDuringTheCall(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-call")
	bob.click("accept-audio")
	ann.talking()
	bob.talking()
	bob.click("camera")
	ann.wait(`switchboard.call.remoteVideo`)
	ann.sees()
	ann.click("camera")
	bob.wait(`switchboard.call.remoteVideo`)
	bob.sees()
	bob.click("camera")
	ann.wait(`!switchboard.call.remoteVideo && document.getElementById('incall').dataset.video === 'false'`)
	bob.click("camera")
	ann.wait(`switchboard.call.remoteVideo`)
	ann.sees()
	bob.sees()
	ann.click("mute")
	ann.says("call-note", "You are muted")
	ann.wait(`switchboard.call.localStream.getAudioTracks().every((t) => !t.enabled)`)
}

// Whoever holds sends and hears nothing; the other is told. The screen takes the
// camera's place, and leaves it.
func TestHoldAndScreen(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	ann.sees()
	bob.sees()
	ann.click("hold")
	ann.says("call-note", "On hold")
	bob.says("call-note", "They have put you on hold")
	bob.wait(`!switchboard.call.remoteVideo && switchboard.call.heldByPeer`)
	ann.wait(`switchboard.call.pc.getSenders().every((s) => s.track === null) && !switchboard.call.remoteVideo`)
	ann.click("hold")
	bob.wait(`!switchboard.call.heldByPeer && switchboard.call.remoteVideo`)
	bob.sees()
	ann.sees()

	if !value[bool](ann.page, `document.featurePolicy.allowsFeature('display-capture')`) {
		t.Fatal("the server does not let its page share the screen")
	}
	ann.click("share") // the browser asks nobody, and has a false screen
	ann.says("call-note", "You share your screen")
	ann.wait(`switchboard.call.pc.getSenders().some((s) => s.track === switchboard.call.screenStream.getVideoTracks()[0])`)
	bob.sees()
	ann.eval(`switchboard.call.screenStream.getVideoTracks()[0].dispatchEvent(new Event('ended'))`) // as the browser's own button does
	ann.wait(`!switchboard.call.sharing && switchboard.call.pc.getSenders().some((s) => s.track === switchboard.call.localStream.getVideoTracks()[0])`)
	bob.sees()

	// Another microphone takes over without renegotiation.
	ann.click("shrink")
	ann.click("open-settings")
	ann.wait(`document.querySelectorAll('#microphone option').length > 1`)
	before := value[string](ann.page, `switchboard.call.pc.localDescription.sdp`)
	ann.eval(`window.track = switchboard.call.localStream.getAudioTracks()[0]`)
	ann.eval(`(() => { const s = document.getElementById('microphone'); s.value = s.options[1].value; s.dispatchEvent(new Event('change')) })()`)
	ann.wait(`switchboard.call.localStream.getAudioTracks()[0] !== window.track && switchboard.call.pc.getSenders().some((s) => s.track === switchboard.call.localStream.getAudioTracks()[0])`)
	if after := value[string](ann.page, `switchboard.call.pc.localDescription.sdp`); after != before {
		t.Error("the call was renegotiated for another microphone")
	}
	bob.sees()
}

func TestICERestart(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	ann.sees()
	bob.sees()
	const ufrag = `switchboard.call.pc.localDescription.sdp.match(/ice-ufrag:(\S+)/)[1]`
	for _, p := range []*person{ann, bob} {
		before := value[string](ann.page, ufrag)
		p.eval(`switchboard.call.restart()`)
		ann.wait(ufrag + ` !== '` + before + `' && switchboard.call.pc.signalingState === 'stable' && switchboard.call.pc.iceConnectionState === 'connected'`)
		ann.sees()
		bob.sees()
	}
	// Both at once: the callee gives way.
	before := value[string](ann.page, ufrag)
	ann.eval(`switchboard.call.restart()`)
	bob.eval(`switchboard.call.restart()`)
	ann.wait(ufrag + ` !== '` + before + `'`)
	for _, p := range []*person{ann, bob} {
		p.wait(`switchboard.call.pc.signalingState === 'stable' && switchboard.call.pc.connectionState === 'connected'`)
		p.sees()
	}
	// From now on over relays alone. Chromium keeps the direct pair as long as it
	// works, so that what is new is all that can be seen.
	before = value[string](ann.page, ufrag)
	ann.eval(`switchboard.call.restart({relayOnly: true})`)
	ann.wait(ufrag + ` !== '` + before + `' && switchboard.call.pc.signalingState === 'stable' && /typ relay/.test(switchboard.call.pc.localDescription.sdp)`)
	if value[bool](ann.page, `/typ (host|srflx)/.test(switchboard.call.pc.localDescription.sdp)`) {
		t.Error("there are candidates that are no relay's")
	}
	ann.sees()
	bob.sees()
}

// Both call each other at the same moment: they end up in one call.
func TestBothCallAtOnce(t *testing.T) {
	_, ann, bob := two(t, "")
	for _, p := range []struct{ who, other *person }{{ann, bob}, {bob, ann}} {
		p.who.goTo("keypad")
		p.who.write("dial-number", p.other.number)
	}
	for _, p := range []*person{ann, bob} {
		p.eval(`document.getElementById('dial-call').click()`)
	}
	for _, p := range []*person{ann, bob} {
		p.talking()
		p.wait(`switchboard.client.calls.size === 1`)
	}
	a, b := value[string](ann.page, `switchboard.call.id`), value[string](bob.page, `switchboard.call.id`)
	if a != b {
		t.Errorf("two calls: %s and %s", a, b)
	}
	bob.click("hangup")
	ann.idle()
	bob.idle()
}

// Somebody with two devices: both ring, one answers; texts and what was read are
// the same on both.
func TestTwoDevices(t *testing.T) {
	h, ann, bob := two(t, "")
	tablet := h.newDevice(newPage(t, "Bob's tablet"), bob.number, "")
	ann.dial(bob.number, "dial-call")
	bob.see("incoming")
	tablet.see("incoming")
	tablet.click("accept-audio")
	ann.talking()
	bob.idle()
	bob.goTo("recents")
	bob.wait(`document.querySelector('#recents li small').textContent.length > 0 && document.getElementById('missed-count').hidden`)
	ann.click("hangup")
	tablet.idle()
	bob.wait(`/^Incoming, Answered on another phone, 0:\d\d$/.test(document.querySelector('#recents li small').textContent)`)
	tablet.wait(`/^Incoming, 0:\d\d$/.test(document.querySelector('#recents li small').textContent)`)

	bob.goTo("chat=%2B" + ann.number[1:])
	bob.write("compose", "from the phone")
	bob.click("send")
	tablet.wait(`switchboard.store.conversations[0]?.texts[0].out`)
	ann.wait(`switchboard.store.conversations[0]?.unread === 1`)

	ann.eval(`switchboard.client.sendText('` + bob.number + `', 'hello, both')`)
	for _, p := range []*person{bob, tablet} {
		p.wait(`switchboard.store.conversations[0]?.texts.at(-1).body === 'hello, both'`)
	}
}

// Two phones in one browser, for who has nobody to call.
func TestSecondPhone(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	ctx, cancel := chromedp.NewContext(ann.ctx)
	defer cancel()
	query := value[string](ann.page, `document.getElementById('second-phone').getAttribute('href')`)
	bob := h.newPerson(open(t, "second phone", ctx), query)
	bob.dial(ann.number, "dial-call")
	ann.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, cdppage.BringToFront, cdp.Empty{})
		return err
	}))
	ann.click("accept-audio")
	ann.talking()
	bob.talking()
}

// Without call waiting whoever calls somebody in a call hears busy, once all his
// phones are; that is missed, too.
func TestBusy(t *testing.T) {
	h, ann, bob := two(t, "")
	cid := h.newPerson(newPage(t, "Cid"), "")
	bob.click("open-settings")
	bob.wait(`document.getElementById('call-waiting').checked`)
	bob.click("call-waiting")
	bob.click("close-settings")
	ann.dial(bob.number, "dial-call")
	bob.click("accept-audio")
	ann.talking()
	cid.dial(bob.number, "dial-call")
	cid.says("call-state", "Busy")
	bob.talking()
	bob.wait(`switchboard.client.calls.size === 1 && document.getElementById('second').hidden`)
	bob.says("missed-count", "1")
	bob.click("hangup")
	bob.idle()
	bob.come() // what the server has written down of it changes nothing
	bob.online()
	bob.says("missed-count", "1")
	bob.wait(`!switchboard.client.callWaiting`) // the setting stays
	bob.goTo("recents")
	bob.wait(`document.querySelector('#recents [data-peer="` + cid.number + `"] small').textContent === 'Missed while in a call'`)
}

// The server is killed in the middle of a call and comes back: nobody in the
// call notices, and hanging up works.
func TestServerIsKilledDuringTheCall(t *testing.T) {
	h, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	ann.sees()
	bob.sees()
	for _, p := range []*person{ann, bob} {
		p.eval(`window.went = []; switchboard.call.addEventListener('change', (e) => went.push(e.target.state))`)
	}
	h.kill()
	for _, p := range []*person{ann, bob} {
		p.says("call-note", "The server is away; your call goes on.")
		p.sees()
	}
	h.start()
	for _, p := range []*person{ann, bob} {
		p.online()
		p.sees()
		if got := value[[]string](p.page, `went.filter((s) => s !== 'active')`); len(got) > 0 {
			t.Errorf("%s: the call went through %v", p.name, got)
		}
	}
	ann.click("hangup")
	bob.wait(`switchboard.call?.state === 'ended' && switchboard.call.reason === 'hangup'`)
	ann.idle()
	bob.idle()
}

// A hang-up while the server is away is not lost.
func TestHangupWhileTheServerIsAway(t *testing.T) {
	h, ann, bob := two(t, "")
	ann.dial(bob.number, "dial-call")
	bob.click("accept-audio")
	ann.talking()
	bob.talking()
	h.kill()
	ann.click("hangup")
	ann.idle()
	h.start()
	bob.wait(`switchboard.call === null || switchboard.call.reason === 'hangup'`)
	bob.idle()
}

func TestTextsWhileTheServerIsAway(t *testing.T) {
	h, ann, bob := two(t, "")
	h.kill()
	ann.goTo("chat=%2B" + bob.number[1:])
	for i := range 3 {
		ann.write("compose", fmt.Sprint("text ", i))
		ann.click("send")
	}
	ann.wait(`document.querySelectorAll('#messages .text.out[data-state=pending]').length === 3`)
	ann.see("banner")
	h.start()
	bob.wait(`switchboard.store.conversations[0]?.texts.map((t) => t.body).join() === 'text 0,text 1,text 2'`)
	ann.wait(`document.querySelectorAll('#messages .text.out[data-state=delivered]').length === 3`)
}

func TestAnotherTab(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	ctx, cancel := chromedp.NewContext(ann.ctx)
	defer cancel()
	tab := open(t, "second tab", ctx)
	tab.open(h.url)
	tab.wait(`switchboard.client.state === 'online'`)
	ann.says("stopped-title", "In use in another tab")
	ann.click("stopped-action")
	ann.online()
	ann.wait(`document.getElementById('stopped').hidden`)
	tab.says("stopped-title", "In use in another tab")
}

func TestTokenIsRevoked(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	ann.eval(`await (await import('/switchboard.js')).revoke({token: switchboard.store.device.token})`)
	ann.come()
	ann.says("stopped-title", "Your registration has expired")
	ann.click("stopped-action")
	ann.see("number")
	if got := value[string](ann.page, `document.getElementById('number').value`); got != ann.number {
		t.Errorf("the number is not there any more: %q", got)
	}
}

func TestAccountIsLookedAfter(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	tablet := h.newDevice(newPageIn(t, 1, "Ann's tablet"), ann.number, "")
	ann.click("open-settings")
	ann.wait(`document.querySelectorAll('#devices li').length === 2`)
	ann.wait(`document.querySelector('#devices [data-device="2"] small').textContent === 'Connected'`)
	ann.eval(`document.querySelector('#devices [data-device="2"] button').click()`)
	ann.write("ask-input", "Tablet\r")
	ann.wait(`document.querySelector('#devices [data-device="2"] span').textContent.startsWith('Tablet')`)

	const next = "+14155550188"
	ann.eval(`window.sdk = await import('/switchboard.js'); window.token = switchboard.store.device.token`)
	ann.eval(`window.asked = await sdk.requestNumber({token, number: "` + next + `"})`)
	ann.eval(`await sdk.confirmNumber({token, verification: asked.verification, code: "` + h.code(next) + `"})`)
	for _, n := range []*person{ann, tablet} { // their sessions end and begin again
		n.wait(`switchboard.client.number === "` + next + `" && switchboard.client.state === 'online'`)
		n.wait(`JSON.parse(localStorage.getItem('switchboard.device')).number === "` + next + `"`)
		n.says("own-number", "+1 415 555 0188")
	}

	ann.eval(`await sdk.removeDevice({token, device: 2})`)
	tablet.says("stopped-title", "Your registration has expired")
	if got := value[string](ann.page, `await sdk.deleteAccount({token, verification: 'none', code: '123456'}).catch((e) => e.code)`); got != "code_expired" {
		t.Errorf("deleted without a code: %q", got)
	}
}

func TestKeyboardAlone(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.goTo("keypad")
	ann.write("dial-number", bob.number+"\r")
	bob.see("incoming")
	bob.wait(`document.activeElement.id === 'accept-audio'`)
	bob.wait(`document.getElementById('incoming').dataset.ready === 'true'`)
	bob.do(chromedp.KeyEvent("\r"))
	ann.talking()
	ann.wait(`document.activeElement.id === 'hangup'`)
	ann.do(chromedp.KeyEvent("\r"))
	bob.idle()
	ann.idle()

	bob.dial(ann.number, "dial-call")
	ann.see("incoming")
	ann.wait(`document.getElementById('incoming').dataset.ready === 'true'`)
	ann.do(chromedp.KeyEvent("\u001b"))
	bob.says("call-state", "Declined")
}

// Whom one's address is kept from is said in one place, with what it means; a page that
// was opened for relays alone says that it is.
func TestWhomMyAddressIsKeptFrom(t *testing.T) {
	h := newHouse(t)
	ann := h.newPerson(newPage(t, "Ann"), "")
	const says = `document.getElementById('relayed-says').textContent`
	ann.click("open-settings")
	ann.wait(`document.getElementById('relayed').value === 'strangers' && ` + says + `.startsWith('Calls with strangers go through a relay until')`)
	ann.eval(`(() => { const s = document.getElementById('relayed'); s.value = 'everyone'; s.dispatchEvent(new Event('change')) })()`)
	ann.wait(says + `.startsWith('All calls go through a relay')`)
	// An earlier page kept on this device alone that it was to use relays alone.
	ann.eval(`(() => { const s = document.getElementById('relayed'); s.value = 'nobody'; s.dispatchEvent(new Event('change')) })()`)
	ann.wait(`document.getElementById('relayed-says').textContent.length > 0 && !` + says + `.startsWith('All calls go through a relay')`)
	ann.eval(`localStorage.setItem('switchboard.relay', '1')`)
	ann.come()
	ann.wait(`switchboard.client.relayOnly && localStorage.getItem('switchboard.relay') === null`)
	ann.click("open-settings")
	ann.wait(says + `.startsWith('All calls go through a relay')`)
	ann.page.open(h.url + "/?relay")
	ann.online()
	ann.click("open-settings")
	ann.wait(says + `.startsWith('This page was opened with ?relay') && document.getElementById('relayed').value === 'everyone' && switchboard.client.relayOnly`)
}

// Who may see when somebody is here is for him to say, and whoever looks at his
// chat sees at once what he says.
func TestPrivacy(t *testing.T) {
	_, ann, bob := two(t, "")
	ann.goTo("chat=%2B" + bob.number[1:])
	const shown = `document.getElementById('chat-presence').textContent`
	say := func(who string) {
		bob.eval(`(() => { const s = document.getElementById('seen-by'); s.value = '` + who + `'; s.dispatchEvent(new Event('change')) })()`)
	}
	bob.click("open-settings")
	bob.wait(`!document.getElementById('seen-by').disabled && document.getElementById('seen-by').value === 'contacts' && document.getElementById('findable').checked`)
	say("everyone")
	ann.wait(shown + ` === 'online'`)
	say("contacts")
	ann.wait(shown + ` !== 'online'`)
	bob.eval(`switchboard.client.syncContacts(['` + ann.number + `'])`)
	ann.wait(shown + ` === 'online'`)
	say("nobody")
	ann.wait(shown + ` !== 'online'`)
	bob.click("findable")
	bob.wait(`!document.getElementById('findable').checked`)
	ann.wait(`switchboard.client.syncContacts(['` + bob.number + `']).then((c) => c[0].is === 'none')`)
}
