package escape_test

import (
	"bytes"
	"testing"

	"telnetcpc/bridge/escape"
)

func TestLine(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"", ""},
		{"plain, and é", "plain, and é"},
		{"two\r\nlines", `two\r\nlines`},
		{"\x1b[2J", `\x1b[2J`},
		{"\xff", `\ufffd`},
		{"\u202e", `\u202e`}, // right-to-left override
	} {
		if got := escape.Line(row.text); got != row.want {
			t.Errorf("Line(%q) = %s, want %s", row.text, got, row.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, row := range []struct {
		bytes []byte
		want  string
	}{
		{nil, `""`},
		{[]byte("07\r\n\xff\x00"), `"07\r\n\xff\x00"`},
		{bytes.Repeat([]byte("x"), escape.QuoteLimit), `"` + string(bytes.Repeat([]byte("x"), escape.QuoteLimit)) + `"`},
		{bytes.Repeat([]byte("x"), escape.QuoteLimit+1), `"` + string(bytes.Repeat([]byte("x"), escape.QuoteLimit)) + `"...`},
	} {
		if got := escape.Quote(row.bytes); got != row.want {
			t.Errorf("Quote(%q) = %s, want %s", row.bytes, got, row.want)
		}
	}
}
