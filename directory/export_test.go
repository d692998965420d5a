package directory

var (
	DecodeAccount  = decodeAccount
	DecodeDevice   = decodeDevice
	DecodeBinding  = decodeBinding
	DeviceKey      = deviceKey
	ParseDeviceKey = parseDeviceKey
)
