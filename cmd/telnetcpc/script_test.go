package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"telnetcpc/bridge/testenv"
)

// The scripts in testdata/script run the command as a user does; telnetcpc is this test's own binary. Besides testscript's
// commands they have
//
//	exits STATUS COMMAND...   runs a command that must end with this status
//	listens ADDRESS           waits until something listens there
//	appears FILE              waits until the file exists
//	tells FILE TEXT           waits until the file has the text
//	[free:PORT]               nothing listens on that port of 127.0.0.1
//	[standin]                 this Windows is Wine with a stand-in for com0com's driver, as wincom/winetest makes it
//
// and $PORT, a TCP port that is free when the script starts.

func TestMain(m *testing.M) {
	becomeHelper()
	becomeWatcher()
	testscript.Main(testsOf(m), map[string]func(){"telnetcpc": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would delay the end of each command by a second
			port, err := freePort()
			env.Setenv("PORT", strconv.Itoa(port))
			return err
		},
		Condition: func(condition string) (bool, error) {
			if condition == "standin" {
				return os.Getenv("TELNETCPC_C0SIM") != "", nil
			}
			port, ok := strings.CutPrefix(condition, "free:")
			if !ok {
				return false, fmt.Errorf("unknown condition %q", condition)
			}
			l, err := net.Listen("tcp", "127.0.0.1:"+port)
			if err != nil {
				return false, nil
			}
			return true, l.Close()
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "listens": listens, "appears": appears, "tells": tells,
		},
	})
}

// freePort returns a TCP port that nothing uses, below those that the kernel gives to clients.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no TCP port is free between 20000 and 30000")
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// soon waits until try succeeds.
func soon(ts *testscript.TestScript, what string, try func() error) {
	var err error
	for end := time.Now().Add(testenv.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	ts.Fatalf("not %s within %v: %v", what, testenv.Patience, err)
}

func listens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listens ADDRESS")
	}
	soon(ts, "listening on "+args[0], func() error {
		c, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	soon(ts, "there", func() error {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err
	})
}

func tells(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tells FILE TEXT")
	}
	soon(ts, "there: "+args[1], func() error {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && !strings.Contains(string(text), args[1]) {
			err = fmt.Errorf("%s has only\n%s", args[0], text)
		}
		return err
	})
}
