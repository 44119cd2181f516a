//go:build amd64 || arm64

package run

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestNames: which paths, as written, are the port's or directories of such paths.
func TestNames(t *testing.T) {
	n := newNames([]string{"/dev/ttyS0", "/dev/serial/by-*/usb-?"}, []string{"/tmp/tty[0]"})
	for _, tt := range []struct {
		path                       string
		mapped, parent, candidates bool
	}{
		{"/dev/ttyS0", true, false, true},
		{"/dev/ttyS1", false, false, false},
		{"/dev/serial/by-id/usb-x", true, false, true},
		{"/dev/serial/by-id/usb-xy", false, false, false},
		{"/dev/serial/by-id", false, true, true},
		{"/dev/serial/by-path", false, true, true},
		{"/dev/serial", false, true, true},
		{"/dev", false, true, true},
		{"/srv/serial", false, false, true},
		{"/tmp/tty[0]", false, false, true}, // the port's own path is no pattern
		{"/tmp/tty0", false, false, false},
		{"/", false, false, false},
	} {
		if got := n.mapped(tt.path); got != tt.mapped {
			t.Errorf("%s: mapped %v", tt.path, got)
		}
		if got := n.mappedParent(tt.path); got != tt.parent {
			t.Errorf("%s: parent %v", tt.path, got)
		}
		if got := n.mayMatch(filepath.Base(tt.path)); got != tt.candidates {
			t.Errorf("%s: candidate %v", tt.path, got)
		}
	}
	for path, want := range map[string]bool{
		"/dev/ttyS0": true, "/dev//./ttyS0": true, "/dev/ttyS0/": false, "/dev/../dev/ttyS0": false, "dev/ttyS0": false, "": false,
	} {
		if got := n.mappedAsWritten(path); got != want {
			t.Errorf("%q: lexical %v", path, got)
		}
	}
}

// TestWithDirectories: a path through a symbolic link to a directory is also known by its name without the link.
func TestWithDirectories(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for given, more := range map[string]string{
		"link/ttyS0": "real/ttyS0", "link/no/by-*/x*": "real/no/by-*/x*", "real/ttyS0": "", "lin?/ttyS0": "", "no/link/x": "",
	} {
		want := []string{filepath.Join(dir, given)}
		if more != "" {
			want = append(want, filepath.Join(dir, more))
		}
		if got := withResolvedDirectories(want[:1]); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}
