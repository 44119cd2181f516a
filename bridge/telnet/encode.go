package telnet

import "bytes"

// AppendData appends p as data: each 255 doubled, everything else as it is (RFC 854; RFC 856 for BINARY).
// It does not keep p.
func AppendData(dst, p []byte) []byte {
	for {
		i := bytes.IndexByte(p, byte(IAC))
		if i < 0 {
			return append(dst, p...)
		}
		dst = append(dst, p[:i]...)
		for ; i < len(p) && p[i] == byte(IAC); i++ { // runs of 255 are common: erased flash, idle lines
			dst = append(dst, byte(IAC), byte(IAC))
		}
		p = p[i:]
	}
}

// AppendNVT appends p as data of a connection without BINARY: each 255 doubled, and a CR followed by NUL where no LF
// follows it in p (RFC 854, "THE NVT PRINTER AND KEYBOARD"). A CR at the end of p gets its NUL: an LF that comes with
// a later call is then one of its own, and the receiver sees CR LF all the same.
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

// AppendCommand appends IAC and a command that stands alone.
func AppendCommand(dst []byte, c Command) []byte { return append(dst, byte(IAC), byte(c)) }

// AppendVerb appends WILL, WONT, DO or DONT with its option.
func AppendVerb(dst []byte, c Command, o Option) []byte {
	return append(dst, byte(IAC), byte(c), byte(o))
}

// AppendSub appends a whole subnegotiation, each 255 in p doubled (RFC 855; RFC 2217 says it once more for values).
func AppendSub(dst []byte, o Option, p []byte) []byte {
	dst = append(dst, byte(IAC), byte(SB), byte(o))
	dst = AppendData(dst, p)
	return append(dst, byte(IAC), byte(SE))
}
