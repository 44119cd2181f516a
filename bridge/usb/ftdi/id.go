package ftdi

// What the adapter says it is, in its device descriptor; who attaches it must tell the driver of these. The vendor is
// pid.codes, the one for open source hardware, so that no maker is impersonated. The product is not registered there: it
// is the number of telnetcpc's TCP port, written as if it were hexadecimal.
const (
	VendorID  = 0x1209
	ProductID = 0x3696
)
