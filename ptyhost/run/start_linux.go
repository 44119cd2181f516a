//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of env(1), for a program that could not be started.
const (
	StatusFailed    = 125 // the starting process has failed
	StatusNoExec    = 126 // the program was found but cannot be executed
	StatusNotFound  = 127
	StatusSignalled = 128 // plus the number of the signal that ended the program
)

// StartError means that a program could not be started. Its text is one line, with the way out.
type StartError struct {
	Status int
	Err    error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// Program is a program that runs with the host's port, and all programs that it starts.
type Program struct {
	pid  int
	host *Host

	exit   chan struct{} // closed when the program itself has exited
	status int

	over    chan struct{} // closed when no process has the filter any more, or Close was called
	stop    *os.File      // closed by Close
	standby *standby
	close   sync.Once
}

// Start starts a program: argv[0] is looked up as execvp(3) does. It gets this process's standard streams, other
// inherited descriptors, working directory and process group; env is its environment. The error is a *StartError.
func (h *Host) Start(argv, env []string) (*Program, error) {
	if len(argv) == 0 {
		return nil, &StartError{StatusFailed, errors.New("no program (want one after --)")}
	}
	path, err := findProgram(argv[0])
	if err != nil {
		return nil, err
	}
	p := &Program{host: h, exit: make(chan struct{}), over: make(chan struct{})}
	if err := p.start(path, argv, env); err != nil {
		p.Close()
		var start *StartError
		if !errors.As(err, &start) {
			err = &StartError{StatusFailed, err}
		}
		return nil, err
	}
	return p, nil
}

// findProgram looks the program up.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		return path, nil
	case errors.Is(err, fs.ErrPermission):
		return "", &StartError{StatusNoExec, fmt.Errorf("%s: %w", name, fs.ErrPermission)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", &StartError{StatusNotFound, fmt.Errorf("%s: no such program", name)}
	}
	var named *exec.Error
	if errors.As(err, &named) {
		err = named.Err
	}
	return "", &StartError{StatusNoExec, fmt.Errorf("%s: %w", name, err)}
}

// launcher is this process's handle of a launcher process.
type launcher struct {
	pid    int
	exited <-chan unix.WaitStatus // receives its exit status, once
	socket int                    // -1: none
	l      *listener              // nil if it could not install the filter
}

// startLauncher starts a launcher, which will execute the program when exec is called, and probes what this machine
// lets us do.
func (h *Host) startLauncher(path string, argv, env []string) (s launcher, f capabilities) {
	s.socket = -1
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s, capabilities{startErr: fmt.Errorf("socketpair: %w", err)}
	}
	s.socket = fds[0]
	paths := ""
	if len(h.as) > 0 {
		paths = "paths"
	}
	files, socket, release := inheritedFDs(fds[1])
	defer release()
	args := append([]string{launcherName, strconv.Itoa(socket), paths, path}, argv...)
	s.pid, s.exited, err = h.children.start(args, &syscall.ProcAttr{Env: env, Files: files})
	_ = unix.Close(fds[1])
	if err != nil {
		return s, capabilities{startErr: err}
	}
	at, word, fd, ok := receiveStep(s.socket)
	f = capabilities{reached: at, errno: word, killed: !ok}
	if !ok || at != stepListening {
		return s, f
	}
	if fd < 0 {
		return s, capabilities{startErr: errors.New("it sent no listener (too many open files?)")}
	}
	s.l = newListener(fd)
	f.errno = 0
	f.probe(s.pid, s.l)
	return s, f
}

// exec makes a launcher execute its program, whose memory a standby may read.
func (s launcher) exec(name string, guard int) error {
	if _, err := unix.Write(s.socket, binary.NativeEndian.AppendUint32(nil, uint32(guard))); err != nil {
		return fmt.Errorf("the launcher has ended: %w", err)
	}
	at, errno, _, ok := receiveStep(s.socket) // exec closes the socket
	switch {
	case !ok:
		return nil
	case at == stepExec && errors.Is(errno, fs.ErrNotExist): // removed since findProgram, or its interpreter is missing
		return &StartError{StatusNotFound, fmt.Errorf("%s: %w", name, errno)}
	}
	return &StartError{StatusNoExec, fmt.Errorf("%s: %w", name, errno)}
}

// abandon ends a launcher without a program.
func (s launcher) abandon() {
	if s.socket >= 0 {
		_ = unix.Close(s.socket)
	}
	if s.l != nil {
		s.l.close()
	}
	if s.exited != nil {
		<-s.exited
	}
}

// start starts the launcher, then the goroutine that answers its calls, and makes it execute the program.
func (p *Program) start(path string, argv, env []string) error {
	s, f := p.host.startLauncher(path, argv, env)
	if err := f.explain(); err != nil {
		s.abandon()
		return err
	}
	p.pid = s.pid
	if text := f.yamaWarning(p.host.as); text != "" {
		p.host.log.Warn(text)
	}
	if err := p.listen(s.l); err != nil {
		s.abandon()
		return err
	}
	go p.wait(s.exited)
	defer unix.Close(s.socket)
	return s.exec(argv[0], p.standby.pid)
}

// listen starts the helpers and the goroutine that answers the programs' calls. It ends when no program is left, or by
// Close.
func (p *Program) listen(l *listener) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if err = p.host.startInjector(l); err == nil {
		if p.standby, err = p.host.startStandby(l); err == nil {
			err = l.injector.awaitReady() // after startStandby, because both take time to start
		}
	}
	if err != nil {
		if p.standby != nil {
			p.standby.release()
		}
		_ = r.Close()
		_ = w.Close()
		return err
	}
	p.stop = w
	go l.serveAddFD()
	go func() {
		defer close(p.over)
		defer r.Close()
		defer l.close()
		if err := p.host.serve(l, int(r.Fd())); err != nil && !errors.Is(err, errNoPrograms) && !errors.Is(err, unix.ECANCELED) {
			p.host.log.Error("the programs' system calls are no longer answered", "err", err)
		}
	}()
	return nil
}

// inheritedFDs returns the descriptors that a program gets: those that this process has inherited, under their own
// numbers, and after them socket, as number at. They are duplicates, which release closes: a descriptor that looks
// inherited may belong to another thread for a moment (the race detector has such), and ForkExec's own pipe may then
// take its number.
func inheritedFDs(socket int) (files []uintptr, at int, release func()) {
	copies := map[int]int{}
	last := 2
	for _, fd := range inheritableFDs() {
		if twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			copies[fd] = twin
			last = max(last, fd)
		}
	}
	for fd := 0; fd <= last; fd++ {
		if twin, ok := copies[fd]; ok {
			files = append(files, uintptr(twin))
		} else {
			files = append(files, noFD)
		}
	}
	return append(files, uintptr(socket)), last + 1, func() {
		for _, twin := range copies {
			_ = unix.Close(twin)
		}
	}
}

// noFD is a descriptor that a started process does not get.
const noFD = ^uintptr(0)

// onlyFDs extends the descriptors of a new process so that it inherits no others.
func onlyFDs(files []uintptr) []uintptr {
	for _, fd := range inheritableFDs() {
		for len(files) <= fd {
			files = append(files, noFD)
		}
	}
	return files
}

// inheritableFDs returns the descriptors of this process without FD_CLOEXEC.
func inheritableFDs() (fds []int) {
	names, _ := os.ReadDir("/proc/self/fd")
	for _, name := range names {
		fd, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// wait waits for the program's exit. start starts it.
func (p *Program) wait(end <-chan unix.WaitStatus) {
	ws := <-end
	p.status = ws.ExitStatus()
	if ws.Signaled() {
		p.status = StatusSignalled + int(ws.Signal())
	}
	close(p.exit)
}

// Ended returns a channel that is closed when the program itself has exited; processes that it started may still run.
func (p *Program) Ended() <-chan struct{} { return p.exit }

// Status waits for the program's exit and returns its exit status, or StatusSignalled and the number of the signal that
// ended it.
func (p *Program) Status() int {
	<-p.exit
	return p.status
}

// left returns a channel that is closed when the program and all that it has started have exited.
func (p *Program) left() <-chan struct{} { return p.over }

// Close stops answering calls. Programs that are left find an ordinary system from then on, without the port.
// Idempotent.
func (p *Program) Close() {
	p.close.Do(func() {
		if p.stop == nil {
			return
		}
		_ = p.stop.Close()
		<-p.over
		p.standby.release()
	})
}

// environment returns the environment of this process with the port's path in it.
func environment(path string) []string {
	const name = "TELNETCPC_PORT="
	env := []string{name + path}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, name) {
			env = append(env, e)
		}
	}
	return env
}
