package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// Requests of one device about its account, so that a token that was stolen
// makes the directory work no more than its owner would.
const (
	requestsPerHour = 240
	requestsBurst   = 40
)

// owner tells whose account a request is about. Bad tokens are counted against
// their source, good ones against their device.
func (g *Registrar) owner(ctx context.Context, r *http.Request) (Identity, error) {
	token, err := bearer(r)
	if err != nil {
		return Identity{}, g.guess(r, err)
	}
	id, err := g.auth.Authenticate(ctx, token)
	if err != nil {
		return Identity{}, g.guess(r, err)
	}
	return id, g.asked.take(device{id.Account, id.Device})
}

// listDevices lists the devices of the account.
func (g *Registrar) listDevices(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.owner(ctx, r)
	if err != nil {
		return nil, err
	}
	devices, err := g.auth.accounts.Devices(ctx, id.Account)
	if err != nil {
		return nil, err
	}
	bound, err := g.bound(ctx, id.Account)
	if err != nil {
		return nil, err
	}
	reply := &protocol.DevicesReply{Devices: make([]protocol.DeviceInfo, 0, len(devices))}
	for _, d := range devices {
		reply.Devices = append(reply.Devices, deviceInfo(d, bound, id))
	}
	return reply, nil
}

// bound leads from the devices that are connected to when they did.
func (g *Registrar) bound(ctx context.Context, a directory.Account) (map[directory.Device]time.Time, error) {
	bindings, err := g.auth.accounts.Bindings(ctx, a)
	if err != nil {
		return nil, err
	}
	since := make(map[directory.Device]time.Time, len(bindings))
	for _, b := range bindings {
		since[b.Device] = b.Since
	}
	return since, nil
}

func deviceInfo(d directory.DeviceRecord, bound map[directory.Device]time.Time, asks Identity) protocol.DeviceInfo {
	i := protocol.DeviceInfo{
		Device: uint32(d.Device), Name: d.Name, This: d.Device == asks.Device,
		Created: d.Created.Truncate(time.Second).UnixMilli(),
		Renewed: d.Token.Rotated.UTC().Truncate(24 * time.Hour).UnixMilli(),
	}
	since, online := bound[d.Device]
	if online {
		i.Online, i.Since = true, since.UTC().Truncate(5*time.Minute).UnixMilli()
	}
	return i
}

// nameDevice changes what people call a device.
func (g *Registrar) nameDevice(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.owner(ctx, r)
	if err != nil {
		return nil, err
	}
	dev, err := deviceIn(r)
	if err != nil {
		return nil, err
	}
	var req protocol.NameRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	name, err := checkName(req.Name)
	if err != nil {
		return nil, err
	}
	d, err := g.auth.accounts.UpdateDevice(ctx, id.Account, dev, func(d *directory.DeviceRecord) error {
		d.Name = name
		return nil
	})
	if err != nil {
		return nil, orNoDevice(err)
	}
	bound, err := g.bound(ctx, id.Account)
	if err != nil {
		return nil, err
	}
	return new(deviceInfo(d, bound, id)), nil
}

// dropDevice removes a device of the account, the one that asks or another: its
// session ends at once, and what waits for it is gone.
func (g *Registrar) dropDevice(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.owner(ctx, r)
	if err != nil {
		return nil, err
	}
	dev, err := deviceIn(r)
	if err != nil {
		return nil, err
	}
	if _, err := g.auth.accounts.DeviceOf(ctx, id.Account, dev); err != nil {
		return nil, orNoDevice(err)
	}
	return nil, g.auth.removeDevice(ctx, id.Account, dev)
}

// deviceIn returns the device that a request's path names.
func deviceIn(r *http.Request) (directory.Device, error) {
	text := strings.TrimPrefix(r.URL.Path, protocol.PathDevice)
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, noDevice()
	}
	return directory.Device(n), nil
}

func orNoDevice(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return noDevice()
	}
	return err
}

func noDevice() error {
	return protocol.NewError(protocol.CodeNotFound, "the account has no such device")
}

// checkName returns a name without the white space around it.
func checkName(name string) (string, error) {
	trimmed := strings.TrimSpace(name)
	switch {
	case trimmed == "" || utf8.RuneCountInString(trimmed) > protocol.MaxDeviceName:
		return "", invalid("name", fmt.Sprintf("has not 1 to %d characters", protocol.MaxDeviceName))
	case !printable(trimmed):
		return "", invalid("name", "has characters that cannot be shown")
	}
	return trimmed, nil
}
