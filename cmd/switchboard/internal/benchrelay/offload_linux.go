package main

import (
	"bytes"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of the ioctl SIOCETHTOOL, from linux/ethtool.h.
const (
	ethtoolSetTSO      = 0x1f // ETHTOOL_STSO
	ethtoolSetGRO      = 0x2c // ETHTOOL_SGRO
	ethtoolStringCount = 0x37 // ETHTOOL_GSSET_INFO
	ethtoolStrings     = 0x1b // ETHTOOL_GSTRINGS
	ethtoolSetFeatures = 0x3b // ETHTOOL_SFEATURES
	featureStrings     = 4    // ETH_SS_FEATURES
	stringSize         = 32   // ETH_GSTRING_LEN
)

// offloads sets what the driver does. Receive offload on, and segmentation of TCP off at
// the other end, are what makes a veth receive by NAPI. Segments of UDP are cut before they go over the cable, so that the counters count
// what a wire would carry; their checksums are left out, as for a card that computes them.
func (p *plug) offloads() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		name           string
		command, value uint32
	}{{"receive offload", ethtoolSetGRO, 1}, {"segmentation of TCP", ethtoolSetTSO, 0}} {
		v := struct{ command, value uint32 }{set.command, set.value}
		if err := p.ethtool(fd, unsafe.Pointer(&v)); err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
	}
	return p.featureOff(fd, "tx-udp-segmentation")
}

// featureOff turns a feature of the driver off, by its name. It is no error when the
// kernel has none of that name.
func (p *plug) featureOff(fd int, name string) error {
	info := struct {
		command, _ uint32
		mask       uint64
		n          uint32
	}{command: ethtoolStringCount, mask: 1 << featureStrings}
	if err := p.ethtool(fd, unsafe.Pointer(&info)); err != nil {
		return fmt.Errorf("count features: %w", err)
	}
	const header = 12
	names := make([]byte, header+int(info.n)*stringSize)
	copy(names, words(ethtoolStrings, featureStrings, info.n))
	if err := p.ethtool(fd, unsafe.Pointer(&names[0])); err != nil {
		return fmt.Errorf("names of features: %w", err)
	}
	for i := range int(info.n) {
		s := names[header+i*stringSize:][:stringSize]
		if string(bytes.TrimRight(s, "\x00")) != name {
			continue
		}
		blocks := (info.n + 31) / 32
		set := make([]uint32, 2+2*blocks) // of each block, those that are meant and those that are to be on
		set[0], set[1] = ethtoolSetFeatures, blocks
		set[2+2*(i/32)] = 1 << (i % 32)
		if err := p.ethtool(fd, unsafe.Pointer(&set[0])); err != nil {
			return fmt.Errorf("%s off: %w", name, err)
		}
	}
	return nil
}

func (p *plug) ethtool(fd int, data unsafe.Pointer) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: data}
	copy(request.name[:], p.name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// words are numbers as the kernel has them in memory.
func words(w ...uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), 4*len(w))
}
