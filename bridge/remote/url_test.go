package remote_test

import (
	"strings"
	"testing"

	"telnetcpc/bridge/remote"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"moxa":                      "rfc2217://moxa:3696",
		"moxa:4001":                 "rfc2217://moxa:4001",
		"10.0.0.5":                  "rfc2217://10.0.0.5:3696",
		"10.0.0.5:4001":             "rfc2217://10.0.0.5:4001",
		"::1":                       "rfc2217://[::1]:3696",
		"[::1]":                     "rfc2217://[::1]:3696",
		"[fe80::1]:4001":            "rfc2217://[fe80::1]:4001",
		"rfc2217://moxa":            "rfc2217://moxa:3696",
		"RFC2217://moxa:1/":         "rfc2217://moxa:1",
		"rfc2217+tls://moxa":        "rfc2217+tls://moxa:3696",
		"tcp://moxa:9100":           "tcp://moxa:9100",
		"telnet://moxa":             "telnet://moxa:23",
		"telnet://[2001:db8::1]:24": "telnet://[2001:db8::1]:24",
	} {
		u, err := remote.Parse(in)
		if err != nil || u.String() != want {
			t.Errorf("Parse(%q): got %v, %v; want %s", in, u, err, want)
			continue
		}
		if again, err := remote.Parse(u.String()); err != nil || again != u {
			t.Errorf("Parse(%q) of its own String: got %v, %v", u, again, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, word := range map[string]string{
		"":                        "no host",
		"rfc2217://":              "no host",
		":3696":                   "no host",
		"http://moxa":             `unknown scheme "http"`,
		"tcp://moxa":              "no port",
		"moxa:0":                  `port "0"`,
		"moxa:65536":              `port "65536"`,
		"moxa:ser":                "not a URL",
		"rfc2217://user@moxa":     "user name",
		"rfc2217://moxa:1/ttyS0":  "nothing may follow",
		"rfc2217://moxa?baud=300": "nothing may follow",
		"rfc2217://mo xa":         "not a URL",
		"\x1b[31mmoxa":            "not a URL",
	} {
		u, err := remote.Parse(in)
		if err == nil {
			t.Errorf("Parse(%q): got %v, want an error with %q", in, u, word)
			continue
		}
		if text := err.Error(); !strings.Contains(text, word) || strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("Parse(%q): got %q, want one printable line with %q", in, text, word)
		}
	}
}
