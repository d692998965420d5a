package kernel

import (
	"fmt"
	"net/netip"
	"strings"

	"switchboard/relay/natlab/discovery"
	"switchboard/relay/natlab/nat"
)

// readCoturn reads what turnutils_natdiscovery has written with -m and with -f.
func readCoturn(mapping, filtering string) (discovery.Verdict, error) {
	const answered = "RFC 5780 response 1"
	if !strings.Contains(mapping, answered) && !strings.Contains(filtering, answered) {
		if strings.Contains(mapping, "STUN receive timeout") {
			return discovery.Verdict{Blocked: true}, nil
		}
		return discovery.Verdict{}, fmt.Errorf("turnutils_natdiscovery says: %q", lastLine(mapping))
	}
	v := discovery.Verdict{Translated: !strings.Contains(mapping, "No NAT!")}
	var ok [2]bool
	v.Mapping, ok[0] = coturnSays(mapping, "Mapping")
	v.Filtering, ok[1] = coturnSays(filtering, "Filtering")
	switch {
	case !ok[0]:
		return v, fmt.Errorf("turnutils_natdiscovery -m says: %q", lastLine(mapping))
	case !ok[1]:
		return v, fmt.Errorf("turnutils_natdiscovery -f says: %q", lastLine(filtering))
	}
	v.External, _ = netip.ParseAddrPort(after(mapping, "UDP reflexive addr: "))
	v.Preserved = v.External.IsValid() && strings.HasSuffix(after(mapping, "Local addr: : "), fmt.Sprint(":", v.External.Port()))
	return v, nil
}

// coturnSays is the behaviour that it names of a kind.
func coturnSays(text, kind string) (nat.Behavior, bool) {
	for b, words := range []string{"Endpoint Independent ", "Address Dependent ", "Address and Port Dependent "} {
		if strings.Contains(text, words+kind) {
			return nat.Behavior(b), true
		}
	}
	return 0, false
}

// after is the rest of the line after the first occurrence of a label.
func after(text, label string) string {
	_, rest, _ := strings.Cut(text, label)
	rest, _, _ = strings.Cut(rest, "\n")
	return rest
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
