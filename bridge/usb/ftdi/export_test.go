package ftdi

// Decode returns the rate for a value of SET_BAUD_RATE.
var Decode = decode

// UsualRates are decoded exactly.
var UsualRates = usualRates
