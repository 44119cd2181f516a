//go:build amd64 || arm64

package run_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/run"
)

// Benchmark measures what a program in C does with a port of this host and, for comparison, of package ptyhost, without
// a filter. The median is in the metric p50-ns; for streams it is the mean time of 4 KiB.
//
//	go test -run '^$' -bench . -benchtime 20000x ./ptyhost/run
func Benchmark(b *testing.B) {
	program := filepath.Join(b.TempDir(), "bench")
	if out, err := exec.Command("gcc", "-O2", "-o", program, "testdata/bench.c").CombinedOutput(); err != nil {
		b.Skipf("gcc: %v\n%s", err, out)
	}
	for _, what := range []string{"trip", "up", "down", "ioctl", "open"} {
		for _, host := range []string{"pty", "run"} {
			if host == "pty" && what == "ioctl" {
				continue // no comparable ioctl
			}
			b.Run(what+"/"+host, func(b *testing.B) { bench(b, host, program, what) })
		}
	}
}

func bench(b *testing.B, name, program, what string) {
	h, err := run.New(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	host := uart.Host(h)
	if name == "pty" {
		host = ptyhost.New()
	}
	path := filepath.Join(b.TempDir(), "ttyV0")
	port, err := host.Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	defer port.Close()
	go carry(port, what) // ends when the port is closed
	result := filepath.Join(b.TempDir(), "result")
	argv := []string{program, path, what, strconv.Itoa(b.N), result}
	if name == "pty" {
		err = exec.Command(argv[0], argv[1:]...).Run()
	} else {
		var p *run.Program
		if p, err = h.Start(argv, os.Environ()); err == nil {
			defer p.Close()
			if status := p.Status(); status != 0 {
				err = fmt.Errorf("status %d", status)
			}
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(result)
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ns, "p50-ns")
}

// carry is the other side of a port, until it is closed: it echoes, swallows or floods.
func carry(port uart.Port, what string) {
	pour := make([]byte, 16<<10)
	for {
		p, e, err := port.Next()
		switch {
		case err != nil:
			return
		case e.Ready != nil:
			e.Ready(nil)
		}
		switch {
		case what == "trip" && len(p) > 0:
			_, err = port.Write(p)
		case what == "down" && e.Kind == uart.KindOpened:
			go func() {
				for err := error(nil); err == nil; {
					_, err = port.Write(pour)
				}
			}()
		}
		if err != nil {
			return
		}
	}
}
