package pcap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
	"switchboard/relay/natlab/pcap"
)

// The checksums were calculated elsewhere.
func TestWrite(t *testing.T) {
	at := time.Unix(1700000000, 123456789)
	for _, tt := range []struct {
		name string
		p    natlab.Packet
		want string
	}{
		{"udp4", natlab.Packet{At: at, Proto: nat.UDP, Src: netip.MustParseAddrPort("10.0.0.1:1000"), Dst: netip.MustParseAddrPort("10.0.0.2:2000"), Payload: []byte("abc")},
			"4500001f000040004011" + "26cc" + "0a0000010a000002" + "03e807d0000b" + "1bbb" + "616263"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := pcap.NewWriter(&b)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(tt.p); err != nil {
				t.Fatal(err)
			}
			want := "a1b23c4d00020004000000000000000000020000" + "00000065" + "6553f100075bcd15" + "0000001f0000001f" + tt.want
			if got := hex.EncodeToString(b.Bytes()); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// Packets of a world are whole: lengths and checksums are right.
func TestStart(t *testing.T) {
	var file bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		defer w.Close()
		a, b := w.Internet().AddHost("a"), w.Internet().AddHost("b")
		c, err := pcap.Start(w, "a", &file)
		if err != nil {
			t.Fatal(err)
		}
		talk(t, a, b)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	packets := file.Bytes()[24:]
	n := 0
	for ; len(packets) > 0; n++ {
		size := int(binary.BigEndian.Uint32(packets[8:]))
		wantWhole(t, packets[16:16+size])
		packets = packets[16+size:]
	}
	// Two datagrams, and of TCP: three for the handshake, data and its ACK, FIN and ACK twice.
	if n != 11 {
		t.Errorf("%d packets, want 11", n)
	}
}

func talk(t *testing.T, a, b *natlab.Host) {
	t.Helper()
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, network := range []string{"udp4", "udp6", "tcp6"} {
		c, err := a.DialContext(context.Background(), network, "b:80")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("odd")) // UDP's is not heard, but sent
		if network == "tcp6" {
			in, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			in.Read(make([]byte, 10))
			in.Close()
		}
		if _, ok := c.(net.PacketConn); ok {
			c.Close()
		}
		time.Sleep(time.Second)
	}
}

// wantWhole checks an IP packet's lengths and checksums.
func wantWhole(t *testing.T, p []byte) {
	t.Helper()
	var pseudo, body []byte
	switch p[0] >> 4 {
	case 4:
		if int(binary.BigEndian.Uint16(p[2:])) != len(p) || fold(p[:20]) != 0xffff {
			t.Errorf("IPv4 header of %x", p)
		}
		body = p[20:]
		pseudo = append(append([]byte{}, p[12:20]...), 0, p[9])
	case 6:
		if int(binary.BigEndian.Uint16(p[4:])) != len(p)-40 {
			t.Errorf("IPv6 header of %x", p)
		}
		body = p[40:]
		pseudo = append(append([]byte{}, p[8:40]...), 0, p[6])
	default:
		t.Fatalf("no IP packet: %x", p)
	}
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(body)))
	if fold(append(pseudo, body...)) != 0xffff {
		t.Errorf("checksum of %x", p)
	}
}

func fold(b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(b[:len(b):len(b)], 0)
	}
	s := 0
	for i := 0; i < len(b); i += 2 {
		s += int(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestErrors(t *testing.T) {
	if _, err := pcap.NewWriter(full{}); err == nil {
		t.Error("no error of the header")
	}
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		defer w.Close()
		c, err := pcap.Start(w, "", full{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err == nil {
			t.Error("no error at the end")
		}
	})
}
