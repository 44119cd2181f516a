package ftdi

// Decode is what SET_BAUD_RATE's value is taken for.
var Decode = decode

// UsualRates are decoded exactly.
var UsualRates = usualRates
