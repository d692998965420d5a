package browserphone

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// device is a registered one, as the SDK's store takes it (TokenReply).
type device struct {
	Account string `json:"account"`
	Device  uint32 `json:"device"`
	Number  string `json:"number"`
	Token   string `json:"token"`
	Expires int64  `json:"expires_ms"` // from now
}

// readProfile reads the file in which softphone keeps a device.
func readProfile(path string) (device, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return device{}, failure(CodeUsage, "read the device: %v", err)
	}
	p := struct {
		device
		Expires time.Time `json:"expires"`
	}{}
	if err := json.Unmarshal(data, &p); err != nil || p.Token == "" {
		return device{}, failure(CodeUsage, "%s is no profile of a softphone", path)
	}
	p.device.Expires = max(0, time.Until(p.Expires).Milliseconds())
	return p.device, nil
}

// register makes the page's store have a device.
func (p *phone) register(ctx context.Context) error {
	const doing = "register the device"
	if p.Profile != "" {
		d, err := readProfile(p.Profile)
		if err == nil {
			_, err = ask[*report.Side](ctx, p.browser, doing, "be", d)
		}
		return err
	}
	before := sizeOf(p.CodeFile)
	asked, err := ask[struct{ Verification, Number string }](ctx, p.browser, "ask for a code", "request", map[string]string{"number": p.Number})
	if err != nil {
		return err
	}
	code, err := awaitCode(ctx, p.CodeFile, before, asked.Number)
	if err != nil {
		return err
	}
	_, err = ask[*report.Side](ctx, p.browser, doing, "confirm", map[string]string{"verification": asked.Verification, "code": code, "device": p.Device})
	return err
}

func sizeOf(file string) int64 {
	if info, err := os.Stat(file); err == nil {
		return info.Size()
	}
	return 0
}

// codeWithin is how long a development server may take to write a code down.
const codeWithin = 15 * time.Second

// awaitCode waits until a file has, after what it had before, a line "<number> <code>".
func awaitCode(ctx context.Context, file string, before int64, number string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, codeWithin, failure(CodeFailed, "no code for the number came into %s", file))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(file); err == nil && int64(len(data)) > before {
			for line := range strings.Lines(string(data[before:])) {
				if n, code, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && n == number && strings.HasSuffix(line, "\n") {
					return code, nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
