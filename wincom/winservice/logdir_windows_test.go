package winservice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A service's log is a file that only administrators may write, and has what was logged.
func TestServiceLogFile(t *testing.T) {
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it writes to %ProgramData%, so it runs only if TELNETCPC_C0SIM is set, as wincom/winetest does")
	}
	for _, message := range []string{"the first time", "again"} {
		log, closeLog := openLogs("COM77", false)
		log.Info(message)
		log.Debug("too much")
		closeLog()
		text, err := os.ReadFile(LogFile("COM77"))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); !strings.Contains(got, `msg="`+message+`"`) && !strings.Contains(got, "msg="+message) || strings.Contains(got, "too much") {
			t.Errorf("after %q the log is\n%s", message, got)
		}
	}
	if err := os.Remove(LogFile("COM77")); err != nil {
		t.Error(err)
	}
	if err := checkOwner(logDir()); err != nil {
		t.Error(err)
	}
	if err := checkOwner(filepath.Join(logDir(), "nothing")); err == nil {
		t.Error("a file that does not exist has an owner")
	}
}
