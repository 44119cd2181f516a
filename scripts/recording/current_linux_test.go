package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The picture in README.md is what the program prints today.
func TestRecordingIsCurrent(t *testing.T) {
	out, err := record()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("..", "demo.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if got := draw("telnetcpc demo --once", out); !bytes.Equal(got, want) {
		t.Errorf("scripts/demo.svg is out of date (go run ./scripts/recording >scripts/demo.svg); a run today:\n%s", out)
	}
}
