package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/urfave/cli/v2"
)

// A service is given its attach by its own command line: what was given, read and written again, is read as the same.
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
			first.config.TLS.CAFile = second.config.TLS.CAFile // made whole in between
			if !reflect.DeepEqual(first, second) {
				t.Errorf("read again:\n%+v\nat first:\n%+v", second, first)
			}
		})
	}
}

func TestServiceName(t *testing.T) {
	if got := (attachService{port: "COM9"}).name(); got != "telnetcpc-COM9" || !isOurService(got) {
		t.Errorf("got %q, ours: %v", got, isOurService(got))
	}
	for _, name := range []string{"telnetcpc", "telnetcpc-", "telnetcpc-update", "telnetcpc-COM0", "Telnet", "com0com", ""} {
		if isOurService(name) {
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
		{"COM9|moxa|-v", "service install: flag -v stands behind an argument (flags come first: telnetcpc service install -v ... PORT URL)"},
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

// events stands for the system's event log.
type events struct{ said []string }

func (e *events) Info(id uint32, text string) error    { return e.add("info", id, text) }
func (e *events) Warning(id uint32, text string) error { return e.add("warning", id, text) }
func (e *events) Error(id uint32, text string) error   { return e.add("error", id, text) }
func (e *events) add(level string, id uint32, text string) error {
	e.said = append(e.said, fmt.Sprintf("%s %d %s", level, id, text))
	return nil
}

func TestEventLog(t *testing.T) {
	var e events
	log := slog.New(newEventHandler(&e)).With("port", "COM9")
	log.Info(saysStarted)
	log.Info("port ready", "path", "COM9")
	log.Debug("nobody wants to know")
	log.Info(saysConnected, "remote", "moxa")
	log.Info(saysConnected, "remote", "moxa") // the application opens and closes: not news
	log.Warn(saysLost, "remote", "moxa", "lost_at_most", 7)
	log.Warn(saysNoSession, "err", errors.New("refused\n\x1b[2J"))
	log.Info(saysConnected, "remote", "moxa")
	log.With("more", 1).WithGroup("g").Warn("something else")
	log.Error(saysFailed, "err", errors.New("no driver"))
	log.Info(saysStopped)
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
	if !slices.Equal(e.said, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(e.said, "\n"), strings.Join(want, "\n"))
	}
}

// Nobody waits for the event log. What it does not take is counted, and what it takes is as it was given.
func TestEventQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := stuckEvents{free: make(chan struct{})}
		queue, lines := newEventQueue(&e)
		log := slog.New(newEventHandler(queue))
		log.Info(saysStarted)
		synctest.Wait()
		const most = 10_000
		for i := range most {
			log.Warn("a long word about what has happened", "i", i, "err", errors.New("two  spaces\nand a line"))
		}
		if lines.Close(sayPatience) {
			t.Error("everything is said to be written")
		}
		close(e.free)
		if !lines.Close(sayPatience) {
			t.Error("not everything is written")
		}
		kept := len(e.said) - 2
		if kept < 1000 || kept == most {
			t.Fatalf("%d events of %d were kept", kept, most)
		}
		got := []string{e.said[0], e.said[1], e.said[kept], e.said[kept+1]}
		want := []string{
			"info 1 service started",
			`warning 20 a long word about what has happened i=0 err=two  spaces\nand a line`,
			fmt.Sprintf(`warning 20 a long word about what has happened i=%d err=two  spaces\nand a line`, kept-1),
			fmt.Sprintf("warning 20 %d events were not written: the event log did not take them", most-kept),
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// stuckEvents is an event log that takes nothing until it is freed.
type stuckEvents struct {
	events
	free chan struct{}
}

func (e *stuckEvents) Info(id uint32, text string) error {
	<-e.free
	return e.events.Info(id, text)
}

// The event log knows some of the bridge's messages by their words.
func TestBridgeStillSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "bridge", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("no source of the bridge", err)
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
	for _, message := range []string{saysConnected, saysLost, saysNoSession} {
		if !strings.Contains(text.String(), `"`+message+`"`) {
			t.Errorf("the bridge does not log %q any more: the event log has lost an event", message)
		}
	}
}
