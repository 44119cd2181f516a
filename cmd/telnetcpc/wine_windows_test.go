package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"telnetcpc/bridge/testenv"
)

// tests are this package's. In Wine they clean up after testscript, which fails if it cannot remove its directory:
// os.RemoveAll uses FileDispositionInformationEx, which Wine 8 refuses with a status that Go does not expect.
type tests struct{ *testing.M }

func testsOf(m *testing.M) testscript.TestingM { return tests{m} }

func (m tests) Run() int {
	code := m.M.Run()
	if program, err := exec.LookPath("telnetcpc"); testenv.Wine && err == nil {
		for range 3 { // testscript-main.../bin/telnetcpc.exe
			_ = os.Remove(program)
			program = filepath.Dir(program)
		}
	}
	return code
}
