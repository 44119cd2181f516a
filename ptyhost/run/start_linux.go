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

// Exit statuses of a program that could not be started, as env(1) has them.
const (
	StatusFailed    = 125 // what starts it has failed
	StatusNoExec    = 126 // it is there and cannot be executed
	StatusNotFound  = 127
	StatusSignalled = 128 // plus the signal's number
)

// StartError says that a program could not be started: one line, with the way out.
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

	exit   chan struct{} // closed when it has ended
	status int

	over  chan struct{} // closed when no program has the filter any more, or Close was called
	stop  *os.File      // closed by Close
	guard *guardian
	close sync.Once
}

// Start starts a program: argv[0] is looked for as execvp(3) does it. It has this process's standard streams, its other
// inherited descriptors, its directory and its process group; env is its environment. The error is a *StartError.
func (h *Host) Start(argv, env []string) (*Program, error) {
	if len(argv) == 0 {
		return nil, &StartError{StatusFailed, errors.New("no program (want one behind --)")}
	}
	path, err := lookUp(argv[0])
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

// lookUp finds the program.
func lookUp(name string) (string, error) {
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

// stageProcess is a stage as this process sees it.
type stageProcess struct {
	pid    int
	end    <-chan unix.WaitStatus // gets its end, once
	socket int                    // -1: there is none
	l      *listener              // nil: it does not listen
}

// startStage starts a stage, which will become a program by proceed. What it finds it tells as facts.
func (h *Host) startStage(path string, argv, env []string) (s stageProcess, f facts) {
	s.socket = -1
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s, facts{started: fmt.Errorf("socketpair: %w", err)}
	}
	s.socket = fds[0]
	paths := ""
	if len(h.as) > 0 {
		paths = "paths"
	}
	files, socket, release := inherited(fds[1])
	defer release()
	args := append([]string{stageName, strconv.Itoa(socket), paths, path}, argv...)
	s.pid, s.end, err = h.children.start(args, &syscall.ProcAttr{Env: env, Files: files})
	_ = unix.Close(fds[1])
	if err != nil {
		return s, facts{started: err}
	}
	at, word, fd, ok := hear(s.socket)
	f = facts{at: at, errno: word, ended: !ok}
	if !ok || at != stepListening {
		return s, f
	}
	if fd < 0 {
		return s, facts{started: errors.New("its listener did not come (too many open files?)")}
	}
	s.l = newListener(fd)
	f.errno = 0
	f.inspect(s.pid, s.l)
	return s, f
}

// proceed lets a stage become its program, which a guard may look into.
func (s stageProcess) proceed(name string, guard int) error {
	if _, err := unix.Write(s.socket, binary.NativeEndian.AppendUint32(nil, uint32(guard))); err != nil {
		return fmt.Errorf("the stage has ended: %w", err)
	}
	at, errno, _, ok := hear(s.socket) // no word: the program has closed the socket
	switch {
	case !ok:
		return nil
	case at == stepExec && errors.Is(errno, fs.ErrNotExist): // since it was looked for, or its interpreter
		return &StartError{StatusNotFound, fmt.Errorf("%s: %w", name, errno)}
	}
	return &StartError{StatusNoExec, fmt.Errorf("%s: %w", name, errno)}
}

// abandon ends a stage that becomes no program.
func (s stageProcess) abandon() {
	if s.socket >= 0 {
		_ = unix.Close(s.socket)
	}
	if s.l != nil {
		s.l.close()
	}
	if s.end != nil {
		<-s.end
	}
}

// start starts the stage, answers its calls, and lets it become the program.
func (p *Program) start(path string, argv, env []string) error {
	s, f := p.host.startStage(path, argv, env)
	if err := f.explain(); err != nil {
		s.abandon()
		return err
	}
	p.pid = s.pid
	if text := f.afterwards(p.host.as); text != "" {
		p.host.log.Warn(text)
	}
	if err := p.listen(s.l); err != nil {
		s.abandon()
		return err
	}
	go p.wait(s.end)
	defer unix.Close(s.socket)
	return s.proceed(argv[0], p.guard.pid)
}

// listen starts the goroutine that answers the program's calls. It ends when no program is left, or by Close.
func (p *Program) listen(l *listener) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if err = p.host.startGiver(l); err == nil {
		if p.guard, err = p.host.startGuard(l); err == nil {
			err = l.giver.greet() // they start at the same time
		}
	}
	if err != nil {
		if p.guard != nil {
			p.guard.release()
		}
		_ = r.Close()
		_ = w.Close()
		return err
	}
	p.stop = w
	go l.addAll()
	go func() {
		defer close(p.over)
		defer r.Close()
		defer l.close()
		if err := p.host.serve(l, int(r.Fd())); err != nil && !errors.Is(err, errOver) && !errors.Is(err, unix.ECANCELED) {
			p.host.log.Error("the programs' calls are not answered any more", "err", err)
		}
	}()
	return nil
}

// inherited lists the descriptors that a program gets: those that this process has got, at their places, and socket behind
// them, at. They are copies, which release closes: what looks as if it was inherited may be another thread's for a moment
// (the race detector has such), and its number that of the pipe by which fork and exec are waited for in the next.
func inherited(socket int) (files []uintptr, at int, release func()) {
	copies := map[int]int{}
	last := 2
	for _, fd := range lasting() {
		if twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			copies[fd] = twin
			last = max(last, fd)
		}
	}
	for fd := 0; fd <= last; fd++ {
		if twin, ok := copies[fd]; ok {
			files = append(files, uintptr(twin))
		} else {
			files = append(files, closed)
		}
	}
	return append(files, uintptr(socket)), last + 1, func() {
		for _, twin := range copies {
			_ = unix.Close(twin)
		}
	}
}

// closed is a descriptor that a started process does not get.
const closed = ^uintptr(0)

// alone makes a process that gets these descriptors get no others.
func alone(files []uintptr) []uintptr {
	for _, fd := range lasting() {
		for len(files) <= fd {
			files = append(files, closed)
		}
	}
	return files
}

// lasting are this process's descriptors that a process which it starts has too.
func lasting() (fds []int) {
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

// wait takes the program's end. It is started by start.
func (p *Program) wait(end <-chan unix.WaitStatus) {
	ws := <-end
	p.status = ws.ExitStatus()
	if ws.Signaled() {
		p.status = StatusSignalled + int(ws.Signal())
	}
	close(p.exit)
}

// Ended is closed when the program itself has ended; others that it has started may go on.
func (p *Program) Ended() <-chan struct{} { return p.exit }

// Status is the program's exit status once it has ended; 128 and the signal's number where a signal has ended it.
func (p *Program) Status() int {
	<-p.exit
	return p.status
}

// Left is closed when the program has ended and all that it has started too.
func (p *Program) Left() <-chan struct{} { return p.over }

// Close stops answering: programs that are left go on with an ordinary system. Idempotent.
func (p *Program) Close() {
	p.close.Do(func() {
		if p.stop == nil {
			return
		}
		_ = p.stop.Close()
		<-p.over
		p.guard.release()
	})
}

// Environment is the environment of this process with the port's path in it.
func Environment(path string) []string {
	const name = "TELNETCPC_PORT="
	env := []string{name + path}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, name) {
			env = append(env, e)
		}
	}
	return env
}
