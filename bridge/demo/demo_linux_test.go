package demo_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/demo"
	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/devpath"
)

func TestMain(m *testing.M) {
	devpath.Main()
	os.Exit(m.Run())
}

// start runs a demonstration on a pty. ended gets its end.
func start(t *testing.T, ctx context.Context, out *testenv.Output, path string, once bool) (ended <-chan error) {
	t.Helper()
	e := make(chan error, 1)
	go func() {
		e <- demo.Run(ctx, demo.Config{Host: ptyhost.New(), Path: path, Once: once, Out: out, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	}()
	return e
}

// After the proof the port is the user's, and what the user's program does is shown.
func TestDemoToTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := new(testenv.Output)
	ended := start(t, ctx, out, path, false)
	out.Await(t, "    picocom -b 19200 "+path+"\n")
	out.Await(t, "Ctrl-C ends this")

	app, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out.Await(t, "  session opened\n")
	tio, err := unix.IoctlGetTermios(int(app.Fd()), unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.CSTOPB | unix.B4800
	if err := unix.IoctlSetTermios(int(app.Fd()), unix.TCSETS2, tio); err != nil {
		t.Fatal(err)
	}
	out.Await(t, "  settings 4800")
	if _, err := app.WriteString("\x1b[2J!"); err != nil {
		t.Fatal(err)
	}
	out.Await(t, `"\x1b[2J!"`)
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	out.Await(t, "  session closed\n")

	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the port is still there")
	}
}

// An interrupt before the proof is complete is an error.
func TestDemoInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if err := <-start(t, ctx, new(testenv.Output), filepath.Join(t.TempDir(), "ttyV0"), true); err == nil {
		t.Error("it ended without an error")
	}
}
