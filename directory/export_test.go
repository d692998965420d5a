package directory

import "switchboard/directory/e164"

var (
	DecodeAccount  = decodeAccount
	DecodeDevice   = decodeDevice
	DecodeBinding  = decodeBinding
	DecodeNumber   = decodeNumber
	DecodeSeen     = decodeSeen
	DeviceKey      = deviceKey
	ParseDeviceKey = parseDeviceKey
	NewAccount     = newAccount
)

// EncodeOver is encodeOver.
func EncodeOver(old []byte, v any) ([]byte, error) { return encodeOver(old, v) }

// NumberKey is numberKey.
func NumberKey(secret []byte, n e164.Number) string { return numberKey(secret, n) }

// LeaseKey and SweepKey are keys in NODES.
var LeaseKey = leaseKey

const SweepKey = sweepKey
