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

// TestVerify runs what a user runs on a real Windows.
func TestVerify(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	env := []string{pairVariable + "=" + pairOfVerify, programVariable + "=" + windowsPath(telnetcpc(t))}
	results := w.goTest(t, env,
		"-run", "^TestCOM9$", "telnetcpc/wincom/winetest")
	if len(results.all) < 2 {
		t.Errorf("got %d points\n%s", len(results.all), results.complaints)
	}
	for _, r := range results.all {
		t.Run(strings.TrimPrefix(r.name, "wincom/winetest/TestCOM9/"), r.retell)
	}
}

// TestVerifyScript: no PowerShell is here to run it, but it must say what TestCOM9 listens to, and nothing that Windows'
// own PowerShell reads in another character set.
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

// telnetcpc is telnetcpc.exe, built once.
func telnetcpc(t *testing.T) string {
	t.Helper()
	path, err := program64()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var program64 = sync.OnceValues(func() (string, error) {
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

// windowsPath is how a file of this machine is called inside Wine.
func windowsPath(path string) string { return `Z:` + strings.ReplaceAll(path, "/", `\`) }
