package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/asynclog"
)

// slowTerminal takes one write at a time, each after a while. It is read when the log before it is closed.
type slowTerminal struct {
	bytes.Buffer
	each time.Duration
}

func (s *slowTerminal) Write(p []byte) (int, error) {
	time.Sleep(s.each)
	return s.Buffer.Write(p)
}

func newTestLog(w io.Writer) *asynclog.Writer {
	return asynclog.New(w, asynclog.LogNotice(func(w io.Writer) *slog.Logger { return newLog(w, false) }))
}

// The error that ends the program is its last line, also after more than the terminal has taken yet.
func TestPrintLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		terminal := &slowTerminal{each: 10 * time.Millisecond}
		w := newTestLog(terminal)
		log := newLog(w, false)
		log.Info("first")
		synctest.Wait() // that line is being written: the others wait, and all dropped lines are dropped in one place
		for range 5000 {
			log.Info("settings", "coding", "9600 8N1", "something", "long enough for the room to be filled")
		}
		printLast(w, errors.New("it went\nwrong"))
		if !w.Close(flushTimeout) {
			t.Error("not everything is written")
		}
		text := terminal.String()
		if !strings.HasSuffix(text, "\ntelnetcpc: it went\\nwrong\n") {
			t.Errorf("the end is %q", text[max(0, len(text)-300):])
		}
		if want := `level=WARN msg="log lines were not written: nobody read this log" lines=`; strings.Count(text, want) != 1 {
			t.Errorf("the log lacks %s", want)
		}
	})
}

// A terminal that takes nothing delays the end of the program for a short while only.
func TestPrintLastStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestLog(&slowTerminal{each: time.Hour})
		for i := range 100_000 {
			fmt.Fprintln(w, i)
		}
		began := time.Now()
		printLast(w, errors.New("it went wrong"))
		w.Close(flushTimeout)
		if took := time.Since(began); took > 2*flushTimeout {
			t.Errorf("it took %v", took)
		}
		time.Sleep(1000 * time.Hour) // the terminal goes on, so that no goroutine is left
	})
}

func TestMissingSays(t *testing.T) {
	say := asynclog.LogNotice(func(w io.Writer) *slog.Logger { return newLog(w, false) })
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ` level=WARN msg="log lines were not written: nobody read this log" lines=7` + "\n"},
		{errors.New("disk full"), ` level=WARN msg="log lines were not written" lines=7 err="disk full"` + "\n"},
	} {
		if got := string(say(7, tt.err)); !strings.HasSuffix(got, tt.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%v: got %q, want %q at its end", tt.err, got, tt.want)
		}
	}
}
