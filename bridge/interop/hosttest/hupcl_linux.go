package hosttest

import (
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// pastLinger is longer than a session stays up by default after the last close: 2 s.
const pastLinger = 4 * time.Second

// raised is what the access server logs of its UART when both lines are on.
const raised = `lines="DTR on RTS on`

// checkHUPCL: with HUPCL the far UART's DTR falls at the last close, and not only when the session ends. After stty -hupcl it
// stays on until the next program opens and after that, so that a board whose reset is wired to DTR is not reset.
func checkHUPCL(b *bench) {
	b.Run("on", func(t *testing.T) { newBench(t, b.host).hangsUp() })
	b.Run("off", func(t *testing.T) { newBench(t, b.host).keepsLines() })
}

// hangsUp is the usual close. The session stays up.
func (b *bench) hangsUp() {
	server := b.serve("--simulate", "loopback")
	b.attach("--linger", (10 * testenv.Patience).String())
	p := b.open()
	b.talks(p)
	if !b.carries(outLines) {
		b.drivesNothing(server, p)
		return
	}
	b.prints(server, "msg=settings", raised)
	b.closes(p)
	b.eventually("DTR and RTS fall", func() bool {
		_, after, _ := strings.Cut(server.out.String(), raised)
		return strings.Contains(after, `lines="DTR off RTS off`)
	})
	if log := server.out.String(); strings.Contains(log, "client left") {
		b.Errorf("the session has ended with the close:\n%s", log)
	}
}

// keepsLines is a close without HUPCL.
func (b *bench) keepsLines() {
	server := b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	if status, out := b.runs("", "stty", "-F", b.path, "-hupcl"); status != 0 {
		b.Fatalf("stty -hupcl: %s", out)
	}
	if !b.carries(outLines) {
		b.drivesNothing(server, p)
		return
	}
	b.prints(server, "msg=settings", raised)
	b.closes(p)
	select {
	case <-server.done:
		b.Error("the access server has ended")
	case <-time.After(pastLinger): // no event shows that nothing happens
	}
	b.talks(b.open())
	log := server.out.String()
	if _, after, _ := strings.Cut(log, raised); strings.Contains(after, `lines="DTR off`) {
		b.Errorf("the far UART's DTR has fallen between two programs:\n%s", log)
	}
	if n := strings.Count(log, "client connected"); n != 1 {
		b.Errorf("%d sessions, want one, because DTR falls at its end:\n%s", n, log)
	}
}

// drivesNothing is the check for a host that carries no lines.
func (b *bench) drivesNothing(server *process, p *program) {
	b.Helper()
	b.closes(p)
	if log := server.out.String(); strings.Contains(log, `lines="DTR on`) {
		b.Errorf("DTR was raised, but the host does not claim to carry it:\n%s", log)
	}
}

// closes closes the port and expects success.
func (b *bench) closes(p *program) {
	b.Helper()
	if err := p.Close(); err != nil {
		b.Fatalf("close: %v", err)
	}
}
