package rfc2217_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// What a server reports to be in force, in hex.
func saysBaud(n int) string { return fmt.Sprintf("fffa2c65%08xfff0", n) }

const (
	saysSeven = "fffa2c6607fff0"
	saysEven  = "fffa2c6703fff0"
	saysTwo   = "fffa2c6802fff0"
	saysAsked = "fffa2c6500002580fff0" + "fffa2c6701fff0" + "fffa2c6608fff0" + "fffa2c6801fff0" + "fffa2c6901fff0"
)

// step is what happens next in a session.
type step struct {
	after time.Duration // since the step before
	says  string        // what the server sends, in hex
	ask   uint32        // a baud rate that the client requests instead
}

// TestChanged: an unsolicited line coding is reported as a change, once; one that may be an answer is not.
func TestChanged(t *testing.T) {
	const timeout = 3 * time.Second
	for _, tt := range []struct {
		name  string
		steps []step
		want  []string
	}{
		{"somebody changes the console", []step{{time.Hour, saysBaud(1200), 0}}, []string{"changed 1200"}},
		{"and says so again and again", []step{{time.Hour, saysBaud(1200), 0}, {time.Minute, saysBaud(1200), 0}}, []string{"changed 1200"}},
		{"and changes it once more", []step{{time.Hour, saysBaud(1200), 0}, {0, saysBaud(2400), 0}}, []string{"changed 1200", "changed 2400"}},
		{"and back", []step{{time.Hour, saysBaud(1200), 0}, {time.Minute, saysAsked, 0}, {time.Minute, saysAsked, 0}},
			[]string{"changed 1200", "changed 9600"}},
		{"all of it", []step{{time.Hour, saysBaud(1200) + saysSeven + saysEven + saysTwo, 0}},
			[]string{"changed 1200", "changed 7??", "changed ?E?", "changed ??2"}},
		{"several in one subnegotiation", []step{{time.Hour, "fffa2c" + "6607" + "6703" + "6608" + "6607" + "fff0", 0}}, []string{"changed 7E?"}},
		{"what was requested is no change", []step{{time.Hour, saysAsked + saysAsked, 0}}, nil},
		{"an answer that comes late is none", []step{{timeout - 1, saysBaud(1200), 0}}, nil},
		{"asked for again, it settles in silence", []step{{time.Hour, saysBaud(1200), 0}, {time.Second, "", 9600}, {time.Second, saysAsked, 0}},
			[]string{"changed 1200"}},
		{"asked for again, and not answered", []step{{time.Hour, saysBaud(1200), 0}, {time.Second, "", 9600}, {time.Hour, saysBaud(1200), 0}},
			[]string{"changed 1200", "refused 9600 (no answer)", "changed 1200"}},
		{"requested again and refused: reported already", []step{{time.Hour, "", 9600}, {time.Second, saysBaud(1200), 0}, {time.Hour, saysBaud(1200), 0},
			{time.Hour, saysAsked, 0}}, []string{"refused 9600 (answer 1200)", "changed 9600"}},
		{"flow control and lines: servers answer anything", []step{{time.Hour, "fffa2c6903fff0" + "fffa2c6908fff0" + "fffa2c690bfff0" + "fffa2c6905fff0", 0}}, nil},
		{"no value of a UART's", []step{{time.Hour, saysBaud(0) + "fffa2c6609fff0" + "fffa2c6709fff0" + "fffa2c6809fff0", 0}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{AckTimeout: timeout}, do44)
				if err := c.Apply(wholeState()); err != nil {
					t.Fatal(err)
				}
				words := make(chan []string)
				go func() { words <- untilTheEnd(t, c) }()
				far.send(t, saysAsked)
				for _, s := range tt.steps {
					time.Sleep(s.after)
					if s.ask != 0 {
						if err := c.Apply(uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: s.ask}}); err != nil {
							t.Fatal(err)
						}
					} else {
						far.send(t, s.says)
					}
					synctest.Wait()
				}
				_ = c.Close()
				if got := <-words; !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// untilTheEnd returns everything that Next returns until the session is closed.
func untilTheEnd(t *testing.T, c *rfc2217.Client) (words []string) {
	t.Helper()
	for {
		word := next(t, c)
		if strings.HasPrefix(word, "error") {
			return words
		}
		words = append(words, word)
	}
}

// TestChangedBeforeAnythingWasAsked: before the first request there is nothing to differ from.
func TestChangedBeforeAnythingWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44+saysBaud(1200))
		far.send(t, saysBaud(2400)+"78")
		if got := next(t, c); got != "data x" {
			t.Errorf("got %q, want the data", got)
		}
	})
}
