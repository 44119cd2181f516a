package vmtest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
)

// echo lets every open of a port succeed and sends its bytes back, until the port is closed.
func echo(p uart.Port) error {
	for {
		b, e, err := p.Next()
		if err != nil {
			return err
		}
		if e.Ready != nil {
			e.Ready(nil)
		}
		if len(b) > 0 {
			if _, err := p.Write(b); err != nil {
				return err
			}
		}
	}
}

// checkAccess: owner, group and mode are set on the device that the path leads to.
func checkAccess(t *testing.T) {
	for _, tt := range []struct {
		config uart.PortConfig
		want   string
	}{
		{uart.PortConfig{}, "0:20 660"}, // dialout, on Debian
		{uart.PortConfig{Owner: "65534", Group: "12345", Mode: 0o640}, "65534:12345 640"},
	} {
		tt.config.Path = filepath.Join(t.TempDir(), "ttyV0")
		p, err := kerneltty.New().Open(context.Background(), tt.config)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(tt.config.Path, &st); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o777); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(p.Name()); err == nil {
			t.Errorf("%s still exists after Close", p.Name())
		}
	}
}

// manyPorts are the ports of a hundred users of one machine; Debian's kernel has 120.
const manyPorts = 100

// checkManyPorts: of ports made at once, each path leads to its own port, also after some were closed and made again.
func checkManyPorts(t *testing.T) {
	dir := t.TempDir()
	ports := make([]uart.Port, manyPorts)
	var echoes errgroup.Group
	open := func(i int) error {
		p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{Path: portPath(dir, i)})
		if err == nil {
			ports[i] = p
			echoes.Go(func() error { return echo(p) })
		}
		return err
	}
	each := func(f func(i int) error) {
		t.Helper()
		var all errgroup.Group
		for _, i := range rand.Perm(manyPorts) {
			all.Go(func() error { return f(i) })
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	each(open)
	each(func(i int) error { return answers(portPath(dir, i)) })
	each(func(i int) error {
		if i%3 > 0 {
			return nil
		}
		if err := ports[i].Close(); err != nil {
			return err
		}
		return open(i)
	})
	each(func(i int) error { return answers(portPath(dir, i)) })
	each(func(i int) error { return ports[i].Close() })
	if err := echoes.Wait(); err != uart.ErrClosed {
		t.Errorf("a port ended with %v, want ErrClosed", err)
	}
	if left, _ := filepath.Glob("/dev/ttyUSB*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func portPath(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("ttyV%d", i)) }

// answers checks that a path leads to the port that was made for it, by the device's serial number and by bytes that come
// back.
func answers(path string) error {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	// device is a link to the interface's port, whose grandparent is the USB device, so filepath.Join would resolve .. wrongly.
	serial, err := os.ReadFile("/sys/class/tty/" + filepath.Base(device) + "/device/../../serial")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(serial)); got != filepath.Base(path) {
		return fmt.Errorf("%s leads to %s, whose serial number is %s", path, device, got)
	}
	program, err := uarttest.OpenTTY(path)
	if err != nil {
		return err
	}
	defer program.Close()
	if _, err := io.WriteString(program, path); err != nil {
		return err
	}
	back := make([]byte, len(path))
	if _, err := io.ReadFull(program, back); err != nil || string(back) != path {
		return fmt.Errorf("%s: got back %q, %v", path, back, err)
	}
	return nil
}
