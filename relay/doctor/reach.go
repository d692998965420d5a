package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v4"
)

// reach resolves the name and finds the routes on which STUN is answered.
func (d *doctor) reach(ctx context.Context) {
	secure := false
	for _, addr := range d.resolve(ctx) {
		for _, over := range transports {
			port := d.Target.port(over)
			if port == 0 || ctx.Err() != nil {
				continue
			}
			r := route{over, netip.AddrPortFrom(addr, port)}
			if d.stun(ctx, r) {
				d.routes = append(d.routes, r)
			}
			if over == "tls" && !secure {
				secure = d.certificate(ctx, r)
			}
		}
	}
	if d.Target.TLS == 0 {
		d.tell(Warning, "TLS", "not looked at", "networks that let out the web alone need TURN over TLS, best on port 443: relay.tls; where it is there, name the port with -tls-port")
	}
}

// resolve returns one address of each family that the relay's name has.
func (d *doctor) resolve(ctx context.Context) (out []netip.Addr) {
	host := d.Target.Host
	if a, err := netip.ParseAddr(host); err == nil {
		d.tell(OK, "address", a.String(), "")
		return []netip.Addr{a.Unmap()}
	}
	ctx, cancel := context.WithDeadline(ctx, d.until(ctx))
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(all) == 0 {
		d.tell(Failed, host+" resolves", "", fmt.Sprintf("the name has no address (%v): add A and AAAA records for the relay's public addresses", err))
		return nil
	}
	for _, six := range []bool{false, true} {
		i := slices.IndexFunc(all, func(a netip.Addr) bool { return a.Unmap().Is6() == six })
		switch {
		case i >= 0:
			out = append(out, all[i].Unmap())
			d.tell(OK, host+" resolves to "+family(six), all[i].Unmap().String(), "")
		case six:
			d.tell(Warning, host+" resolves to IPv6", "no address", "devices in networks of IPv6 alone get here by NAT64 or not at all: give the relay an IPv6 address and an AAAA record")
		default:
			d.tell(Warning, host+" resolves to IPv4", "no address", "devices in networks of IPv4 alone do not get here: give the relay an IPv4 address and an A record")
		}
	}
	return out
}

func family(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}

// stun asks for the address that this machine has for the relay (RFC 8489 section 14.2).
func (d *doctor) stun(ctx context.Context, r route) bool {
	check := "STUN over " + r.String()
	l, err := d.dial(ctx, r)
	if err != nil {
		d.unreachable(check, r, err)
		return false
	}
	defer l.close()
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	began := time.Now()
	answer, err := l.ask(m, d.until(ctx), nil)
	if err != nil {
		d.unreachable(check, r, err)
		return false
	}
	took := time.Since(began)
	var seen stun.XORMappedAddress
	if err := seen.GetFrom(answer); err != nil {
		d.tell(Failed, check, answer.Type.String(), "the answer has no XOR-MAPPED-ADDRESS: what listens there is no STUN server")
		return false
	}
	d.tell(OK, check, fmt.Sprintf("%s, seen as %v", millis(took), addrPort(seen)), "")
	return true
}

// unreachable tells what is wrong with a route.
func (d *doctor) unreachable(check string, r route, err error) {
	network := "TCP"
	if r.over == "udp" {
		network = "UDP"
	}
	switch {
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL):
		d.tell(Warning, check, "no route from here", "this machine has no way to "+r.at.Addr().String()+": look from one that has")
	case errors.Is(err, syscall.ECONNREFUSED):
		d.tell(Failed, check, "refused", fmt.Sprintf("nothing listens on %s %v: is the relay running, and is this its port?", network, r.at))
	case errors.Is(err, errNoAnswer) || isTimeout(err):
		d.tell(Failed, check, "no answer", fmt.Sprintf("let %s %d in through the firewalls and security groups of %v", network, r.at.Port(), r.at.Addr()))
	default:
		d.tell(Failed, check, short(err), fmt.Sprintf("what listens on %s %v is no TURN relay, or something in between speaks for it", network, r.at))
	}
}

// The certificate should be renewed when it has fewer days left than this.
const renewDays = 14

// certificate judges the certificate as a browser would. It reports whether there was
// one to judge.
func (d *doctor) certificate(ctx context.Context, r route) bool {
	l, err := d.dial(ctx, r)
	if err != nil {
		return false // STUN has told
	}
	defer l.close()
	state := l.conn.(*tls.Conn).ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return false
	}
	d.judge(state.PeerCertificates)
	d.either(state.NegotiatedProtocol == "stun.turn", Warning, "ALPN stun.turn", cmp.Or(state.NegotiatedProtocol, "none"),
		"the relay does not answer ALPN (RFC 7443): what ends TLS in front of it should pass stun.turn on, or let TCP through as it is")
	return true
}

func (d *doctor) judge(chain []*x509.Certificate) {
	leaf, name := chain[0], d.Target.serverName()
	left := int(time.Until(leaf.NotAfter).Hours() / 24)
	figure := fmt.Sprintf("for %s, %d days left", names(leaf), left)
	const check = "TLS certificate"
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		d.tell(Failed, check, fmt.Sprintf("valid from %s to %s", day(leaf.NotBefore), day(leaf.NotAfter)),
			"the certificate has expired, or a clock is wrong: renew it; the relay reads the files again by itself")
		return
	}
	if err := leaf.VerifyHostname(name); err != nil {
		d.tell(d.unless(Failed), check, figure, fmt.Sprintf("it is not for %s, so browsers refuse it: get one for that name, or set ice.host to a name that it has", name))
		return
	}
	if err := d.trusted(chain); err != nil {
		d.tell(d.unless(Failed), check, figure, "browsers do not trust it ("+short(err)+"): give the whole chain in relay.tls.cert_file, of an authority that browsers know; with one of your own, -ca FILE")
		return
	}
	d.either(left >= renewDays, Warning, check, figure, "renew it now; the relay reads the files again by itself")
}

func (d *doctor) trusted(chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Intermediates: between})
	if err != nil && d.Roots != nil {
		_, err = chain[0].Verify(x509.VerifyOptions{Intermediates: between, Roots: d.Roots})
	}
	return err
}

// unless returns a warning in the place of s where the relay is for trying out.
func (d *doctor) unless(s Status) Status {
	if d.Development {
		return Warning
	}
	return s
}

func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return printable(strings.Join(all, " "))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func millis(t time.Duration) string { return fmt.Sprintf("%.1f ms", float64(t.Microseconds())/1000) }

// short is the innermost of an error's causes, without addresses.
func short(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return printable(err.Error())
		}
		err = inner
	}
}
