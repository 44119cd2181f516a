package winservice

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A service may be uninstalled between the moment it is listed and the moment it is shown.
func TestWriteServices(t *testing.T) {
	for _, tt := range []struct {
		names, want string
		fails       bool
	}{
		{"", "no service (telnetcpc service install COM9 URL)\n", false},
		{"gone", "no service (telnetcpc service install COM9 URL)\n", false},
		{"gone a gone b", "a\nb\n", false},
		{"a broken b", "a\n", true},
	} {
		t.Run(tt.names, func(t *testing.T) {
			var out strings.Builder
			err := writeServices(&out, strings.Fields(tt.names), func(name string) error {
				switch name {
				case "gone":
					return noServiceError(name)
				case "broken":
					return errors.New(name)
				}
				_, err := io.WriteString(&out, name+"\n")
				return err
			})
			if out.String() != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %q, %v; want %q", out.String(), err, tt.want)
			}
		})
	}
	if got, want := fmt.Sprint(noServiceError("telnetcpc-COM9")), "there is no service telnetcpc-COM9 (telnetcpc service status lists all)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
