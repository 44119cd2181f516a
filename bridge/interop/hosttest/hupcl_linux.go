package hosttest

import (
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// pastLinger is longer than a session stays by itself when nobody has the port open: 2 s.
const pastLinger = 4 * time.Second

// raised is what the access server says of its UART when both lines are on.
const raised = `lines="DTR on RTS on`

// checkHUPCL: with HUPCL the far UART's DTR falls when the last program closes, and not only when the session ends. After
// stty -hupcl it stays until the next program opens, and behind that: the board that is reset by its rise is not.
func checkHUPCL(b *bench) {
	b.Run("on", func(t *testing.T) { newBench(t, b.host).hangsUp() })
	b.Run("off", func(t *testing.T) { newBench(t, b.host).keepsLines() })
}

// hangsUp is the usual close. The session is still there.
func (b *bench) hangsUp() {
	server := b.serve("--simulate", "loopback")
	b.attach("--linger", (10 * testenv.Patience).String())
	p := b.open()
	b.talks(p)
	if !b.carries(outLines) {
		b.drivesNothing(server, p)
		return
	}
	b.says(server, "msg=settings", raised)
	b.closes(p)
	b.eventually("DTR and RTS fall", func() bool {
		_, behind, _ := strings.Cut(server.out.String(), raised)
		return strings.Contains(behind, `lines="DTR off RTS off`)
	})
	if said := server.out.String(); strings.Contains(said, "client left") {
		b.Errorf("the session has ended with the close:\n%s", said)
	}
}

// keepsLines is a close without HUPCL.
func (b *bench) keepsLines() {
	server := b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	if status, said := b.runs("", "stty", "-F", b.path, "-hupcl"); status != 0 {
		b.Fatalf("stty -hupcl: %s", said)
	}
	if !b.carries(outLines) {
		b.drivesNothing(server, p)
		return
	}
	b.says(server, "msg=settings", raised)
	b.closes(p)
	select {
	case <-server.done:
		b.Error("the access server has ended")
	case <-time.After(pastLinger): // nothing tells that nothing happens
	}
	b.talks(b.open())
	said := server.out.String()
	if _, behind, _ := strings.Cut(said, raised); strings.Contains(behind, `lines="DTR off`) {
		b.Errorf("the far UART's DTR has fallen between two programs:\n%s", said)
	}
	if n := strings.Count(said, "client connected"); n != 1 {
		b.Errorf("%d sessions, want one: its end lets DTR fall:\n%s", n, said)
	}
}

// drivesNothing is the check for a host that carries no lines.
func (b *bench) drivesNothing(server *process, p *program) {
	b.Helper()
	b.closes(p)
	if said := server.out.String(); strings.Contains(said, `lines="DTR on`) {
		b.Errorf("DTR was raised, but the host does not claim to carry it:\n%s", said)
	}
}

// closes wants a close to succeed.
func (b *bench) closes(p *program) {
	b.Helper()
	if err := p.Close(); err != nil {
		b.Fatalf("close: %v", err)
	}
}
