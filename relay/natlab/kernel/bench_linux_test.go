package kernel_test

import (
	"os"
	"testing"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// BenchmarkBuild makes and removes a lab with two NATs.
func BenchmarkBuild(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("makes network namespaces: needs root")
	}
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		b.Run(string(how), func(b *testing.B) {
			for b.Loop() {
				l, err := kernel.Build(b.Context(), behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{Routers: how})
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
