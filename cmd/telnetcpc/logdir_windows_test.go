package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A service's log is a file where only administrators may write, and holds what was logged.
func TestServiceLogFile(t *testing.T) {
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it writes in %ProgramData% (TELNETCPC_C0SIM, which only wincom/winetest sets, says that it may)")
	}
	s := attachService{port: "COM77"}
	for _, message := range []string{"the first time", "again"} {
		log, closeLog := s.openLog()
		log.Info(message)
		log.Debug("too much")
		closeLog()
		text, err := os.ReadFile(logFile("COM77"))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); !strings.Contains(got, `msg="`+message+`"`) && !strings.Contains(got, "msg="+message) || strings.Contains(got, "too much") {
			t.Errorf("after %q the log is\n%s", message, got)
		}
	}
	if err := os.Remove(logFile("COM77")); err != nil {
		t.Error(err)
	}
	if err := checkOwner(logDir()); err != nil {
		t.Error(err)
	}
	if err := checkOwner(filepath.Join(logDir(), "nothing")); err == nil {
		t.Error("what is not there has an owner")
	}
}
