package winservice

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestName(t *testing.T) {
	if got := Name("COM9"); got != "telnetcpc-COM9" || !isOurs(got) {
		t.Errorf("got %q, ours: %v", got, isOurs(got))
	}
	for _, name := range []string{"telnetcpc", "telnetcpc-", "telnetcpc-update", "telnetcpc-COM0", "Telnet", "com0com", ""} {
		if isOurs(name) {
			t.Errorf("%q is not ours", name)
		}
	}
}

func TestOpenToOthers(t *testing.T) {
	for program, want := range map[string]bool{
		`C:\Program Files\telnetcpc\telnetcpc.exe`: false,
		`c:\program files\TELNETCPC\telnetcpc.exe`: false,
		`C:\Program Files.old\telnetcpc.exe`:       true,
		`C:\Users\me\Downloads\telnetcpc.exe`:      true,
		`\\server\Program Files\x\telnetcpc.exe`:   true,
		`C:\Program Files (x86)\tel\telnetcpc.exe`: true,
	} {
		if got := openToOthers(program, `C:\Program Files`); got != want {
			t.Errorf("%s: got %v", program, got)
		}
	}
}

// events is an event log that keeps what it is given.
type events struct{ all []string }

func (e *events) Info(id uint32, text string) error    { return e.add("info", id, text) }
func (e *events) Warning(id uint32, text string) error { return e.add("warning", id, text) }
func (e *events) Error(id uint32, text string) error   { return e.add("error", id, text) }
func (e *events) add(level string, id uint32, text string) error {
	e.all = append(e.all, fmt.Sprintf("%s %d %s", level, id, text))
	return nil
}

func TestEventLog(t *testing.T) {
	var e events
	log := slog.New(newEventHandler(&e)).With("port", "COM9")
	log.Info(logStarted)
	log.Info("port ready", "path", "COM9")
	log.Debug("a detail")
	log.Info(logConnected, "remote", "moxa")
	log.Info(logConnected, "remote", "moxa") // the application closes and opens again: no event
	log.Warn(logLost, "remote", "moxa", "lost_at_most", 7)
	log.Warn(logNoSession, "err", errors.New("refused\n\x1b[2J"))
	log.Info(logConnected, "remote", "moxa")
	log.With("more", 1).WithGroup("g").Warn("something else")
	log.Error(logFailed, "err", errors.New("no driver"))
	log.Info(logStopped)
	want := []string{
		"info 1 service started port=COM9",
		"info 10 session up port=COM9 remote=moxa",
		"warning 11 session lost port=COM9 remote=moxa lost_at_most=7",
		`warning 12 no session; trying again port=COM9 err=refused\n\x1b[2J`,
		"info 10 session up port=COM9 remote=moxa",
		"warning 20 something else port=COM9 more=1",
		"error 3 service failed port=COM9 err=no driver",
		"info 2 service stopped port=COM9",
	}
	if !slices.Equal(e.all, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(e.all, "\n"), strings.Join(want, "\n"))
	}
}

// Nobody waits for the event log. What it does not take is counted, and what it takes is unchanged.
func TestEventQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := stuckEvents{free: make(chan struct{})}
		queue, lines := newEventQueue(&e)
		log := slog.New(newEventHandler(queue))
		log.Info(logStarted)
		synctest.Wait()
		const most = 10_000
		for i := range most {
			log.Warn("a long text about what has happened", "i", i, "err", errors.New("two  spaces\nand a line"))
		}
		if lines.Close(flushTimeout) {
			t.Error("Close reports that everything is written")
		}
		close(e.free)
		if !lines.Close(flushTimeout) {
			t.Error("not everything is written")
		}
		kept := len(e.all) - 2
		if kept < 1000 || kept == most {
			t.Fatalf("%d events of %d were kept", kept, most)
		}
		got := []string{e.all[0], e.all[1], e.all[kept], e.all[kept+1]}
		want := []string{
			"info 1 service started",
			`warning 20 a long text about what has happened i=0 err=two  spaces\nand a line`,
			fmt.Sprintf(`warning 20 a long text about what has happened i=%d err=two  spaces\nand a line`, kept-1),
			fmt.Sprintf("warning 20 %d events were not written: the event log did not take them", most-kept),
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// stuckEvents is an event log that takes nothing until free is closed.
type stuckEvents struct {
	events
	free chan struct{}
}

func (e *stuckEvents) Info(id uint32, text string) error {
	<-e.free
	return e.events.Info(id, text)
}

// The event log recognises some of the bridge's messages by their text.
func TestBridgeLogs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "bridge", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("no source of the bridge: ", err)
	}
	var text strings.Builder
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(source)
	}
	for _, message := range []string{logConnected, logLost, logNoSession} {
		if !strings.Contains(text.String(), `"`+message+`"`) {
			t.Errorf("the bridge does not log %q any more: the event log has lost an event", message)
		}
	}
}
