package telnet

import "bytes"

// AppendData appends p as data to dst: each 255 doubled, everything else unchanged (RFC 854; RFC 856 for BINARY). It does not
// keep p.
func AppendData(dst, p []byte) []byte {
	for {
		i := bytes.IndexByte(p, byte(IAC))
		if i < 0 {
			return append(dst, p...)
		}
		dst = append(dst, p[:i]...)
		for ; i < len(p) && p[i] == byte(IAC); i++ { // runs of 255 are common: erased flash, an idle line
			dst = append(dst, byte(IAC), byte(IAC))
		}
		p = p[i:]
	}
}

// AppendNVT appends p as data of a connection without BINARY: each 255 doubled, and a NUL after each CR that no LF follows in
// p (RFC 854, "THE NVT PRINTER AND KEYBOARD"). A CR at the end of p gets a NUL too: if the next call begins with LF, the
// receiver still sees CR LF.
func AppendNVT(dst, p []byte) []byte {
	for i, c := range p {
		dst = append(dst, c)
		switch {
		case c == byte(IAC):
			dst = append(dst, byte(IAC))
		case c == '\r' && (i+1 == len(p) || p[i+1] != '\n'):
			dst = append(dst, 0)
		}
	}
	return dst
}

// AppendCommand appends a command without an option.
func AppendCommand(dst []byte, c Command) []byte { return append(dst, byte(IAC), byte(c)) }

// AppendVerb appends WILL, WONT, DO or DONT and its option.
func AppendVerb(dst []byte, c Command, o Option) []byte {
	return append(dst, byte(IAC), byte(c), byte(o))
}

// AppendSub appends a whole subnegotiation with the value p, each 255 in it doubled (RFC 855).
func AppendSub(dst []byte, o Option, p []byte) []byte {
	dst = append(dst, byte(IAC), byte(SB), byte(o))
	dst = AppendData(dst, p)
	return append(dst, byte(IAC), byte(SE))
}
