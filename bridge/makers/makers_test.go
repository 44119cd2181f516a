package makers_test

import (
	"reflect"
	"strings"
	"testing"

	"telnetcpc/bridge/makers"
)

func TestPort(t *testing.T) {
	for port, want := range map[int]string{
		965: "", 966: "Moxa", 997: "Moxa", 998: "", 3696: "", 4000: "", 4001: "Moxa", 4032: "Moxa", 4033: "",
		10000: "", 10001: "Lantronix", 10016: "Lantronix", 10017: "",
	} {
		if got := makers.Port(port); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("port %d: got %q, want %q in it", port, got, want)
		}
	}
}

func TestByOpening(t *testing.T) {
	for opening, want := range map[string]string{
		"WILL ECHO,DO COM-PORT":                           "hub4com",
		"WILL ECHO,DO COM-PORT,DO BINARY":                 "hub4com",
		"WILL ECHO":                                       "",
		"WILL ECHO,WILL SGA,DO BINARY,WILL COM-PORT":      "pyserial",
		"WILL ECHO,WILL SGA,DO COM-PORT":                  "",
		"WILL BINARY,DO BINARY,WILL ECHO,WILL SGA,DO SGA": "",
		"": "",
	} {
		got := makers.ByOpening(strings.Split(opening, ","))
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", opening, got, want)
		}
	}
}

func TestBySignature(t *testing.T) {
	for signature, want := range map[string][]string{
		"Moxa NPort 5110\r\n": {"moxa"},
		"nport":               {"moxa"},
		"Digi PortServer TS":  {"digi"},
		"XPort by Lantronix":  {"lantronix"},
		"UDS1100":             {"lantronix"},
		"HelloDevice":         {"sena"},
		"HWg-ER02":            {"hw-group"},
		"EKI-1521":            {"advantech"},
		"Digital thing":       nil,
		"ser2net":             nil,
		"":                    nil,
	} {
		var got []string
		for _, r := range makers.BySignature([]byte(signature)) {
			got = append(got, r.Name)
			if !strings.HasPrefix(r.Means, "reported of ") {
				t.Errorf("%s: %q does not say that it is hearsay", signature, r.Means)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", signature, got, want)
		}
	}
}

func TestNotices(t *testing.T) {
	for _, test := range []struct {
		text           string
		missing, inUse bool
	}{
		{"port not opened: open /dev/ttyS9: no such file or directory\r\n", true, false},
		{"Device open failure: Value or file not found\r\n", true, false},
		{"Port already in use\r\n", false, true},
		{"BUSY", false, true},
		{"ttyS0_busy: in use.", false, true},
		{"ttyS0 is in use\r\n", false, true},
		{"BusyBox v1.36.1 built-in shell (ash)\r\n", false, false},
		{"admin user:", false, false},
		{"SSH-2.0-OpenSSH_9.2\r\n", false, false},
		{"", false, false},
	} {
		if got := makers.DeviceMissing([]byte(test.text)); got != test.missing {
			t.Errorf("%q: device missing is %v, want %v", test.text, got, test.missing)
		}
		if got := makers.InUse([]byte(test.text)); got != test.inUse {
			t.Errorf("%q: in use is %v, want %v", test.text, got, test.inUse)
		}
	}
}

func TestService(t *testing.T) {
	for text, want := range map[string]string{
		"\x15\x03\x03\x00\x02\x02\x32": makers.TLS,
		"\x16\x03":                     makers.TLS,
		"\x15":                         "",
		"this port wants TLS (rfc2217+tls://)\r\n": makers.TLS,
		"<!DOCTYPE HTML>":                          "a web server",
		"RFB 003.008\n":                            "a VNC server",
		"220 ftp.example FTP server":               "", // the line is not complete
		"220 mail.example\r\n":                     "a text service (SMTP, mail)",
		"hello":                                    "",
		"":                                         "",
	} {
		if got := makers.Service([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestByCode(t *testing.T) {
	if got := makers.ByCode(0x97); got != "HW group" {
		t.Errorf("got %q", got)
	}
	if got := makers.ByCode(1); got != "" {
		t.Errorf("SET-BAUDRATE belongs to %q", got)
	}
}
