package logindtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

const (
	busName     = "org.freedesktop.login1"
	objectPath  = "/org/freedesktop/login1"
	managerName = "org.freedesktop.login1.Manager"
)

// daemonConfig configures a private bus. %s is its socket.
const daemonConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// Bus is a dbus-daemon for one test.
type Bus struct {
	Address string
	t       *testing.T
	program string
	config  string
	cmd     *exec.Cmd
	done    chan struct{}
}

// NewBus starts a bus, which ends with the test. On a machine without dbus-daemon the test is skipped, or fails under
// TELNETCPC_NEED=all.
func NewBus(t *testing.T) *Bus {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		why := fmt.Sprintf("%v (Debian's package: dbus-daemon; scripts/test installs it)", err)
		testenv.Skip(t, why)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, daemonConfig, filepath.Join(dir, "bus")), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &Bus{t: t, program: program, config: config}
	t.Cleanup(b.End)
	b.Start()
	return b
}

// Start restarts a bus that has ended, at the same address.
func (b *Bus) Start() {
	b.t.Helper()
	_ = os.Remove(filepath.Join(filepath.Dir(b.config), "bus")) // of the previous one
	out, theirs, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	b.cmd = exec.Command(b.program, "--config-file="+b.config, "--nofork", "--nopidfile", "--print-address")
	b.done = make(chan struct{})
	var complaints strings.Builder
	b.cmd.Stdout, b.cmd.Stderr = theirs, &complaints
	err = b.cmd.Start()
	_ = theirs.Close()
	if err != nil {
		close(b.done)
		b.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) { // until the bus ends
		_ = cmd.Wait()
		close(done)
	}(b.cmd, b.done)
	line, err := bufio.NewReader(out).ReadString('\n') // printed when it listens
	if err != nil {
		b.End()
		b.t.Fatalf("dbus-daemon: %v: %s", err, complaints.String())
	}
	address, _, _ := strings.Cut(strings.TrimSpace(line), ",guid=") // it differs at each start
	b.Address = address
}

// End ends the bus.
func (b *Bus) End() {
	if b.cmd == nil || b.cmd.Process == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.done
}

// Manager is logind on a bus.
type Manager struct {
	t   *testing.T
	bus *dbus.Conn

	mu     sync.Mutex
	asleep bool          // the last argument of Prepare
	mute   chan struct{} // Inhibit answers when it is closed; nil: at once. Constant
	taken  int           // calls of Inhibit
	locks  []inhibitor   // not released when last checked
}

// inhibitor is a lock: a pipe, whose read end gets EOF when the last copy of the write end is closed.
type inhibitor struct {
	ours, theirs int // theirs is our copy of the end that was sent; -1: closed
}

// Option changes how a Manager starts.
type Option func(*Manager)

// Asleep: logind has already announced that the machine goes to sleep. Mute: it does not answer Inhibit before Unmute.
var (
	Asleep Option = func(m *Manager) { m.asleep = true }
	Mute   Option = func(m *Manager) { m.mute = make(chan struct{}) }
)

// Unmute ends Mute.
func (m *Manager) Unmute() { close(m.mute) }

// NewManager connects a logind to a bus until the test ends.
func NewManager(t *testing.T, b *Bus, options ...Option) *Manager {
	t.Helper()
	m := &Manager{t: t}
	for _, option := range options {
		option(m)
	}
	var err error
	if m.bus, err = dbus.Connect(b.Address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.bus.Close() })
	if err := m.bus.Export(methods{m}, objectPath, managerName); err != nil {
		t.Fatal(err)
	}
	if err := m.bus.Export(properties{m}, objectPath, "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	if reply, err := m.bus.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("request %s: %v, %v", busName, reply, err)
	}
	return m
}

// methods has the methods that are exported on the bus.
type methods struct{ m *Manager }

// Inhibit is logind's method: it returns a lock.
func (c methods) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	m := c.m
	if what != "sleep" || who == "" || why == "" || mode != "delay" {
		m.t.Errorf("Inhibit(%q, %q, %q, %q): want a delay of sleep", what, who, why, mode)
	}
	if m.mute != nil {
		<-m.mute
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken++
	m.locks = append(m.locks, inhibitor{ends[0], ends[1]})
	return dbus.UnixFD(ends[1]), nil
}

// properties has the property that is exported on the bus.
type properties struct{ m *Manager }

// Get is the method of org.freedesktop.DBus.Properties.
func (p properties) Get(of, name string) (dbus.Variant, *dbus.Error) {
	if of != managerName || name != "PreparingForSleep" {
		return dbus.Variant{}, dbus.MakeFailedError(fmt.Errorf("no property %s of %s", name, of))
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return dbus.MakeVariant(p.m.asleep), nil
}

// End ends this logind: its name becomes free, and its locks void.
func (m *Manager) End() {
	_ = m.bus.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.locks {
		_ = unix.Close(l.ours)
		if l.theirs >= 0 {
			_ = unix.Close(l.theirs)
		}
	}
	m.locks = nil
}

// Taken returns how often Inhibit was called.
func (m *Manager) Taken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}

// Held returns how many locks are held. It closes our copies first: only those of the caller of Inhibit count.
func (m *Manager) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var held []inhibitor
	for _, l := range m.locks {
		if l.theirs >= 0 {
			_ = unix.Close(l.theirs)
			l.theirs = -1
		}
		if _, err := unix.Read(l.ours, make([]byte, 1)); errors.Is(err, unix.EAGAIN) {
			held = append(held, l)
		} else {
			_ = unix.Close(l.ours)
		}
	}
	m.locks = held
	return len(held)
}

// Prepare sends PrepareForSleep.
func (m *Manager) Prepare(sleep bool) {
	m.t.Helper()
	m.mu.Lock()
	m.asleep = sleep
	m.mu.Unlock()
	if err := m.bus.Emit(objectPath, managerName+".PrepareForSleep", sleep); err != nil {
		m.t.Fatal(err)
	}
}

// Eventually waits for a condition by polling.
func Eventually(t *testing.T, what string, patience time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
