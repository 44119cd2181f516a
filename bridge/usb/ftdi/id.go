package ftdi

// The adapter's identity in its device descriptor; a host must register it with the driver. The vendor is pid.codes,
// which assigns ids to open source hardware, so that no manufacturer is impersonated. The product is not registered
// there: it is the number of telnetcpc's TCP port, written as if it were hexadecimal.
const (
	VendorID  = 0x1209
	ProductID = 0x3696
)
