package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge"
)

// Zero is a valid duration; without the flag the default applies.
func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		given                     string // words, separated by |
		linger, openWait, holdFor string
	}{
		{"", "-", "-", "-"},
		{"--linger|0s", "0s", "-", "-"},
		{"--open-wait|0", "-", "0s", "-"},
		{"--hold-for|0s", "-", "-", "0s"},
		{"--hold-for|0", "-", "-", "0s"},
		{"--hold-for|forever", "-", "-", bridge.Forever.String()},
		{"--linger|90s|--open-wait|500ms|--hold-for|1m", "1m30s", "500ms", "1m0s"},
	} {
		words := strings.Split("COM9|moxa", "|")
		if tt.given != "" {
			words = append(strings.Split(tt.given, "|"), words...)
		}
		s, err := parseService(words)
		if err != nil {
			t.Errorf("%q: %v", tt.given, err)
			continue
		}
		p := s.config.Policy
		got := fmt.Sprint(timeText(p.Linger), " ", timeText(p.OpenWait), " ", timeText(p.HoldFor))
		if want := tt.linger + " " + tt.openWait + " " + tt.holdFor; got != want {
			t.Errorf("%q: linger, open-wait, hold-for: got %s, want %s", tt.given, got, want)
		}
	}
}

func timeText(d *time.Duration) string {
	if d == nil {
		return "-"
	}
	return d.String()
}
