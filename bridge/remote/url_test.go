package remote_test

import (
	"strings"
	"testing"

	"telnetcpc/bridge/remote"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"moxa":           "rfc2217://moxa:3696",
		"moxa:4001":      "rfc2217://moxa:4001",
		"10.0.0.5":       "rfc2217://10.0.0.5:3696",
		"10.0.0.5:4001":  "rfc2217://10.0.0.5:4001",
		"::1":            "rfc2217://[::1]:3696",
		"[::1]":          "rfc2217://[::1]:3696",
		"[fe80::1]:4001": "rfc2217://[fe80::1]:4001",

		"fe80::1%eth0":                          "rfc2217://[fe80::1%25eth0]:3696",
		"[fe80::1%eth0]":                        "rfc2217://[fe80::1%25eth0]:3696",
		"[fe80::1%eth0]:4001":                   "rfc2217://[fe80::1%25eth0]:4001",
		"[fe80::1%25eth0]:4001":                 "rfc2217://[fe80::1%25eth0]:4001",
		"rfc2217://[fe80::1%25eth0]:3696":       "rfc2217://[fe80::1%25eth0]:3696",
		"rfc2217://[fe80::1%eth0]:3696":         "rfc2217://[fe80::1%25eth0]:3696",
		"rfc2217+tls://[fe80::1%25eth0.7]":      "rfc2217+tls://[fe80::1%25eth0.7]:3696",
		"tcp://[fe80::1%en0]:9100":              "tcp://[fe80::1%25en0]:9100",
		"fe80::1%25":                            "rfc2217://[fe80::1%2525]:3696", // the 25th interface
		"[fe80::1%251]:1":                       "rfc2217://[fe80::1%25251]:1",
		"rfc2217://[fe80::1%25]:1":              "rfc2217://[fe80::1%2525]:1",
		"rfc2217://[fe80::1%251]:1":             "rfc2217://[fe80::1%251]:1", // the first
		"fe80::1%Ethernet 2":                    "rfc2217://[fe80::1%25Ethernet%202]:3696",
		"rfc2217://[fe80::1%25Ethernet%202]:1/": "rfc2217://[fe80::1%25Ethernet%202]:1",

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

		"fe80::1%":                  "not a URL",
		"[fe80::1%]":                "IPv6 address with its zone",
		"[10.0.0.5%eth0]:1":         "IPv6 address with its zone",
		"[moxa%eth0]":               "IPv6 address with its zone",
		"[fe80::1%a\x1bb]":          "IPv6 address with its zone",
		"rfc2217://[fe80::1%25%0a]": "IPv6 address with its zone",
		"rfc2217://moxa%25eth0":     "is not a host",
		"rfc2217://moxa%eth0":       "not a URL",
		"rfc2217://2001:db8::x:1":   "is not a host",
		"rfc2217://mo%C2%85xa":      "is not a host",
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

// The zone is part of the address for the dialer.
func TestParseZone(t *testing.T) {
	u, err := remote.Parse("rfc2217+tls://[fe80::1%25eth0]:4001")
	if err != nil || u.Host != "fe80::1%eth0" || u.Address() != "[fe80::1%eth0]:4001" {
		t.Errorf("got host %q, address %q, %v", u.Host, u.Address(), err)
	}
}

// FuzzParseRoundTrip: Parse of a URL's String returns the same URL.
func FuzzParseRoundTrip(f *testing.F) {
	for _, s := range []string{
		"moxa", "10.0.0.5:4001", "::1", "[::1]", "fe80::1%eth0", "[fe80::1%eth0]:1", "rfc2217://[fe80::1%25eth0]:3696",
		"rfc2217+tls://[fe80::1%251]", "tcp://[fe80::1%25Ethernet%202]:9100", "telnet://m%C3%B6xa", "rfc2217://a@b", "[::1]%25x",
		"rfc2217://[[::1]]:1", "a]%25", "rfc2217://%25", "rfc2217://a:b:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := remote.Parse(s)
		if err != nil {
			return
		}
		if again, err := remote.Parse(u.String()); err != nil || again != u {
			t.Errorf("Parse(%q) is %+v, which prints %q, which is read as %+v, %v", s, u, u, again, err)
		}
	})
}
