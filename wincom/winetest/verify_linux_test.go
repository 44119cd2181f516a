package winetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// TestVerify runs in Wine what a user runs on a real Windows.
func TestVerify(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	env := []string{pairVariable + "=" + pairOfVerify, programVariable + "=" + windowsPath(telnetcpc(t))}
	results := w.goTest(t, env,
		"-run", "^TestCOM9$", "telnetcpc/wincom/winetest")
	if len(results.all) < 2 {
		t.Errorf("got %d results\n%s", len(results.all), results.stderr)
	}
	for _, r := range results.all {
		t.Run(strings.TrimPrefix(r.name, "wincom/winetest/TestCOM9/"), r.report)
	}
}

// TestVerifyScript: there is no PowerShell here to run the script, but it must set TestCOM9's variables, and be ASCII,
// because Windows' own PowerShell assumes another character set.
func TestVerifyScript(t *testing.T) {
	text, err := os.ReadFile("../../scripts/verify-windows.ps1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"$env:" + pairVariable + " =", "$env:" + programVariable + " =", "-test.run=^TestCOM9$", "TestCOM9/"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if i := strings.IndexFunc(string(text), func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		t.Errorf("byte %d is not ASCII", i)
	}
}

// telnetcpc returns the path of telnetcpc.exe, built once.
func telnetcpc(t *testing.T) string {
	t.Helper()
	path, err := buildTelnetcpc()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildTelnetcpc = sync.OnceValues(func() (string, error) {
	w, err := theWine()
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, "drive_c", "telnetcpc.exe")
	return path, build("build", "-o", path, "telnetcpc/cmd/telnetcpc")
})

// build runs the go command for Windows.
func build(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), forWindows...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// windowsPath returns the name in Wine of a file of this machine.
func windowsPath(path string) string { return `Z:` + strings.ReplaceAll(path, "/", `\`) }
