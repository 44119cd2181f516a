package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// A service gets its attach by its command line: flags that were parsed and written again parse to the same values.
func TestServiceArguments(t *testing.T) {
	for _, tt := range []struct {
		given string // words, separated by |
		want  string
	}{
		{"COM9|10.0.0.5:4001", "COM9|10.0.0.5:4001"},
		{"com9|moxa", "COM9|moxa"},
		{"--line|19200 7E1|-v|COM9|moxa", "--line=19200 7E1|--v=true|COM9|moxa"},
		{"-v=false|--tls-insecure|COM9|rfc2217+tls://moxa", "--tls-insecure=true|--v=false|COM9|rfc2217+tls://moxa"},
		{"--linger|90s|--hold-for=1m|COM9|moxa", "--linger=1m30s|--hold-for=1m|COM9|moxa"},
		{"--linger|0|--open-wait=0s|--hold-for|0s|COM9|moxa", "--linger=0s|--open-wait=0s|--hold-for=0s|COM9|moxa"},
		{"--hold-for|forever|COM9|moxa", "--hold-for=forever|COM9|moxa"},
		{"--quirk|suspend-ignore|--quirk|single-ff|COM9|moxa", "--quirk=suspend-ignore|--quirk=single-ff|COM9|moxa"},
		{"--tls-ca|ca \"1\".pem|COM9|rfc2217+tls://moxa", "--tls-ca=HERE/ca \"1\".pem|COM9|rfc2217+tls://moxa"},
		{"--tls-name|a%20b|--baud|9600|--dcd|link|COM10|rfc2217+tls://[::1]:7", "--tls-name=a%20b|--baud=9600|--dcd=link|COM10|rfc2217+tls://[::1]:7"},
	} {
		t.Run(tt.given, func(t *testing.T) {
			first, err := parseService(strings.Split(tt.given, "|"))
			if err != nil {
				t.Fatal(err)
			}
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Split(strings.ReplaceAll(tt.want, "HERE/", here+string(filepath.Separator)), "|")
			sort := func(words []string) []string { // the order of flags is the library's
				flags := slices.Clone(words[:len(words)-2])
				slices.Sort(flags)
				return append(flags, words[len(words)-2:]...)
			}
			if !slices.Equal(sort(first.arguments), sort(want)) {
				t.Errorf("got %q, want %q", first.arguments, want)
			}
			second, err := parseService(first.arguments)
			if err != nil {
				t.Fatalf("%q: %v", first.arguments, err)
			}
			first.config.TLS.CAFile = second.config.TLS.CAFile // made absolute in between
			if !reflect.DeepEqual(first, second) {
				t.Errorf("read again:\n%+v\nat first:\n%+v", second, first)
			}
		})
	}
}

// parseService reads the arguments of service install.
func parseService(words []string) (s attachService, err error) {
	command := subcommand("service", "install", "", append(portFlags(), &cli.BoolFlag{Name: "v"}), func(c *cli.Context) (err error) {
		s, err = serviceOf(c, true)
		return err
	})
	app := &cli.App{Name: "telnetcpc", Commands: []*cli.Command{family("service", "", command)}}
	err = app.Run(append([]string{"telnetcpc", "service", "install"}, words...))
	return s, err
}

func TestServiceWrong(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"", "service install: got 0 arguments, want PORT URL (telnetcpc service install --help)"},
		{"COM9", "service install: got 1 arguments, want PORT URL (telnetcpc service install --help)"},
		{"COM9|moxa|-v", "service install: flag -v follows an argument (flags come first: telnetcpc service install -v ... PORT URL)"},
		{"/dev/ttyV0|moxa", `service install: port "/dev/ttyV0": want COM1 to COM4096`},
		{"CNCB0|moxa", `service install: port "CNCB0": want COM1 to COM4096`},
		{"COM9|http://moxa", `remote "http://moxa": unknown scheme "http" (want rfc2217, rfc2217+tls, tcp or telnet)`},
		{"--line|9X9|COM9|moxa", `--line: baud rate "9X9": want a number from 1 to 4294967295`},
	} {
		words := strings.Split(tt.given, "|")
		if tt.given == "" {
			words = nil
		}
		_, err := parseService(words)
		if err == nil || err.Error() != tt.want || status(err) != exitUsage {
			t.Errorf("%q: got %v, want %s", tt.given, err, tt.want)
		}
	}
}
