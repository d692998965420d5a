package web_test

import (
	"testing"

	"switchboard/signaling/protocol"
)

// pulled is what the browser does when the microphone of the call is pulled out.
const pulled = `
	window.mic = call.localStream.getAudioTracks()[0]
	mic.stop()
	mic.dispatchEvent(new Event('ended'))`

const (
	// anotherMicrophone is whether one that is open is sent in the place of mic.
	anotherMicrophone = `call.localStream.getAudioTracks().length === 1 && call.localStream.getAudioTracks()[0] !== mic && ` +
		`call.localStream.getAudioTracks()[0].readyState === 'live' && call.pc.getSenders().some((s) => s.track === call.localStream.getAudioTracks()[0])`
	// noMicrophone is a machine that has none.
	noMicrophone = `
		window.open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
		navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError') };`
)

// A microphone is pulled out in a call: another takes over, muted if that one was, and
// the other side need not be asked.
func TestMicrophoneIsPulledOut(t *testing.T) {
	for _, muted := range []string{"false", "true"} {
		t.Run("muted "+muted, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			st.connected(p)
			st.page.eval(`call.setMuted(` + muted + `);` + pulled)
			st.page.wait(anotherMicrophone)
			if !value[bool](st.page, `call.localStream.getAudioTracks()[0].enabled !== `+muted+` && call.state === 'active'`) {
				t.Error("it is not muted as the other was, or the call is not what it was")
			}
			p.quiet(st, protocol.TypeCallDescribe, protocol.TypeCallHangup)
			if n := value[int](st.page, `happened('trouble')`); n != 0 {
				t.Error("there was trouble")
			}
		})
	}
}

// On hold the microphone is replaced, too, and nothing of it is sent until the call is
// resumed.
func TestMicrophoneIsPulledOutOnHold(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.connected(p)
	st.page.eval(`await call.hold();` + pulled)
	st.page.wait(`call.localStream.getAudioTracks()[0] !== mic && call.localStream.getAudioTracks()[0].readyState === 'live'`)
	if value[bool](st.page, sends) {
		t.Error("the new microphone is heard on hold")
	}
	st.page.eval(`call.resume()`)
	st.page.wait(anotherMicrophone)
}

// Where there is no other, people are told, and the call goes on: they hear the other
// side. As soon as there is one it is taken.
func TestTheOnlyMicrophoneIsPulledOut(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.connected(p)
	st.page.eval(noMicrophone + pulled)
	st.page.wait(`happened('trouble') === 1`)
	if got := value[string](st.page, `(({code, message, info}) => [code, info.name, message].join())(told.find((e) => e.type === 'trouble').detail)`); got != "media,NotFoundError,There is no microphone." {
		t.Errorf("trouble: %s", got)
	}
	p.quiet(st, protocol.TypeCallHangup, protocol.TypeCallDescribe)
	st.page.eval(`navigator.mediaDevices.dispatchEvent(new Event('devicechange'))`) // perhaps a speaker
	if n := value[int](st.page, `happened('trouble')`); n != 1 || value[string](st.page, `call.state`) != "active" {
		t.Errorf("there was trouble %d times, or the call is over", n)
	}
	st.page.eval(`navigator.mediaDevices.getUserMedia = open; navigator.mediaDevices.dispatchEvent(new Event('devicechange'))`)
	st.page.wait(anotherMicrophone)
}

// A camera that is pulled out is off; sound goes on.
func TestCameraIsPulledOut(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{video: true}`)
	st.taken(p, m)
	st.page.eval(`
		const camera = call.localStream.getVideoTracks()[0]
		camera.stop()
		camera.dispatchEvent(new Event('ended'))`)
	st.page.wait(`!call.cameraOn && call.localStream.getVideoTracks().length === 0 && call.pc.getSenders().every((s) => s.track?.kind !== 'video')`)
	if !value[bool](st.page, `call.state === 'active' && `+sends) {
		t.Error("sound went with the picture")
	}
}
