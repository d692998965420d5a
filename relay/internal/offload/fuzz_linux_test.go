package offload

import "testing"

// FuzzProgram gives the program any frame. What becomes of it is what the model says; the
// model's code is what shows the fuzzer its way, since it does not see the kernel's.
func FuzzProgram(f *testing.F) {
	b := newBench(f, twoFamilies...)
	for _, w := range ways() {
		payload := []byte{0x80, 96, 0, 1, 5, 6, 7}
		p := w.packet(payload)
		f.Add(p.bytes())
		p.trailer, p.class, p.label, p.fragment, p.id = []byte{1, 2, 3}, 0xb8, 0x12345, 0x4000, 77
		f.Add(p.bytes())
		f.Add(w.packet(payload, 9).bytes())
		f.Add(w.packet(nil).bytes())
		for _, s := range []summing{unsummed, wrong, unfinished} {
			p := w.packet(payload)
			p.summing = s
			f.Add(p.bytes())
		}
		p = w.packet(make([]byte, 1460))
		f.Add(p.bytes())
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < ethernetHeader || len(frame) > 3000 { // which the kernel does not try
			return
		}
		b.try(t, frame)
	})
}
