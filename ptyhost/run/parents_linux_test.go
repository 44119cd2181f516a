//go:build amd64 || arm64

package run_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestParents: programs that check the directories of a mapped path first find them, although they do not exist.
func TestParents(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(scratchDir(t))
	if err != nil {
		t.Fatal(err)
	}
	pattern, path := filepath.Join(dir, "serial/by-*/usb-x"), filepath.Join(dir, "serial/by-id/usb-x")
	link := filepath.Join(dir, "modem")
	if err := os.Symlink("serial/by-id/usb-x", link); err != nil {
		t.Fatal(err)
	}
	address, _ := startServer(t, "loopback")
	for _, tt := range []struct {
		name    string
		argv    []string
		want    string
		without bool // the program is optional
	}{
		{"readlink -e", []string{"readlink", "-e", path}, path, false},
		{"readlink -e of a link", []string{"readlink", "-e", link}, path, false},
		{"realpath", []string{"realpath", "-e", path + "/../usb-x/../../by-id/./usb-x"}, "", false},
		{"realpath by ..", []string{"realpath", "-e", filepath.Dir(path) + "/../by-id/usb-x"}, path, false},
		{"stat", []string{"stat", "-c", "%F %a", filepath.Dir(path), filepath.Dir(filepath.Dir(path))}, "directory 111\ndirectory 111", false},
		{"test", []string{"sh", "-c", `test -d "$1/by-id" && test -d "$1/by-path/" && test -x "$1" && test -c "$1/by-path/usb-x" && ! test -e "$1/by-id/usb-y" && ! test -e "$1/other" && ! test -L "$1" && echo ok`, "sh", filepath.Dir(filepath.Dir(path))}, "ok", false},
		{"python", []string{"python3", "-c", `
import os, pathlib, stat, sys
path, link = sys.argv[1:]
assert os.path.realpath(path, strict=True) == path and os.path.realpath(link, strict=True) == path
assert pathlib.Path(link).resolve(strict=True) == pathlib.Path(path)
assert os.path.exists(os.path.dirname(path)) and os.path.isdir(os.path.dirname(os.path.dirname(path)))
assert os.access(os.path.dirname(path), os.X_OK)
assert os.stat(os.path.dirname(path)).st_ino != os.stat(os.path.dirname(os.path.dirname(path))).st_ino
try:
    os.listdir(os.path.dirname(path))
    assert False
except PermissionError:
    pass
fd = os.open(link, os.O_RDWR | os.O_NOCTTY)
os.write(fd, b"hello")
got = b""
while len(got) < 5:
    got += os.read(fd, 5 - len(got))
assert got == b"hello"
print("ok")`, path, link}, "ok", false},
		{"node", []string{"node", "-e", `
const fs = require("fs"), [path, link] = process.argv.slice(1)
if (fs.realpathSync(link) !== path || fs.realpathSync.native(link) !== path || !fs.existsSync(require("path").dirname(path))) throw 1
console.log("ok")`, path, link}, "ok", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil && tt.without {
				t.Skip(err)
			}
			out, errs, status := runTelnetcpc(t, append([]string{"--as", pattern, address, "--"}, tt.argv...)...)
			if tt.want == "" {
				if status == 0 {
					t.Errorf("it found %s", out)
				}
				return
			}
			if strings.TrimSpace(out) != tt.want || status != 0 {
				t.Errorf("status %d: got %q, want %q: %s", status, out, tt.want, errs)
			}
		})
	}
}
