package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/uart"
)

// proof is the first half of the demonstration: an application uses the port, and what the far UART saw is printed
// beside what the application did.
type proof struct {
	*demonstration
	app  *tty
	flow bool // the host carries the choice of flow control
}

// proofStep is one thing that the application does.
type proofStep struct {
	did string
	do  func() error
	saw func(sight) string // what to print for the sight that shows it; empty: another sight. nil: the far UART sees nothing
}

// sets is a change of line coding and, if the host carries it, of flow control.
func (p *proof) sets(coding uart.Coding, flow uart.FlowMethod) proofStep {
	if !p.flow {
		return proofStep{"set " + coding.String(), func() error { return p.app.set(coding, uart.FlowNone) }, coded(coding, 0)}
	}
	return proofStep{
		"set " + coding.String() + " " + flow.String(), func() error { return p.app.set(coding, flow) }, coded(coding, flow),
	}
}

// prove opens the device that the port's path leads to, and runs the steps. The error names the step that failed, and
// what the far UART saw instead.
func (d *demonstration) prove(ctx context.Context, device string) error {
	d.row("application did", "far UART saw")
	d.row("---------------", "------------")
	p := proof{demonstration: d, flow: d.Host.Fidelity().Carries(uart.CarriesFlow)}
	defer func() {
		if p.app != nil {
			_ = p.app.Close()
		}
	}()
	const text = "Hello, far UART!\r\n"
	first := uart.DefaultCoding() // also the last: the next program finds the port as it was
	slow := uart.Coding{Baud: 19200, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop2}
	fast := uart.Coding{Baud: 115200, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}
	for _, step := range []proofStep{
		{"opened the port", func() (err error) { p.app, err = openTTY(device); return err }, coded(first, 0)},
		{"set " + slow.String(), func() error { return p.app.set(slow, uart.FlowNone) }, coded(slow, 0)},
		{"wrote " + escape.Quote([]byte(text)), func() error { return p.write(text) }, received(text, slow)},
		{"read  " + escape.Quote([]byte(text)), func() error { return p.read(text) }, nil},
		p.sets(fast, uart.FlowRTSCTS),
		p.sets(first, uart.FlowNone),
		{"closed the port", func() error { return p.app.Close() }, left},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("demo: the application has not %s: %w", step.did, err)
		}
		if step.saw == nil {
			d.row(step.did, "(the loopback plug sent it back)")
			continue
		}
		saw, err := d.until(ctx, step.saw)
		if err != nil {
			return fmt.Errorf("demo: the application %s: %w", step.did, err)
		}
		d.row(step.did, saw)
	}
	return nil
}

// row prints one row of the table.
func (d *demonstration) row(did, saw string) { fmt.Fprintf(d.out, "    %-34s %s\n", did, saw) }

// until waits for the sight that saw accepts, and returns the text that saw has for it.
func (d *demonstration) until(ctx context.Context, saw func(sight) string) (string, error) {
	step, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	last := "nothing"
	for {
		s, _, ok := d.far.next(step)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !ok:
			return "", fmt.Errorf("the far UART has not seen it within %v; the last that it saw: %s", stepTimeout, last)
		}
		if text := saw(s); text != "" {
			return text, nil
		}
		last = escape.Line(s.String())
	}
}

// coded accepts the change of settings that leads to the coding want, and to flow unless that is 0.
func coded(want uart.Coding, flow uart.FlowMethod) func(sight) string {
	return func(s sight) string {
		switch {
		case s.event.Kind != uart.KindSettings || s.coding != want:
			return ""
		case flow == 0:
			return want.String()
		case s.event.Flow != uart.Flow{Out: flow, In: flow}:
			return ""
		}
		return want.String() + " " + flow.String()
	}
}

// received accepts exactly this text, sent at this line coding, in any number of sights.
func received(text string, coding uart.Coding) func(sight) string {
	got := ""
	return func(s sight) string {
		if s.event.Kind != uart.KindData || s.coding != coding {
			return ""
		}
		if got += string(s.data); got != text {
			return ""
		}
		return escape.Quote([]byte(got)) + " at " + coding.String()
	}
}

// left accepts the end of the session.
func left(s sight) string {
	if s.event.Kind != uart.KindClosed {
		return ""
	}
	return "the session closed, DTR and RTS off"
}

func (p *proof) write(text string) error {
	_, err := io.WriteString(p.app, text)
	return err
}

// read reads what comes back, which must be text.
func (p *proof) read(text string) error {
	if err := p.app.SetReadDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	got := make([]byte, len(text))
	n, err := io.ReadFull(p.app, got)
	if err != nil {
		return fmt.Errorf("%w after %d of %d bytes", err, n, len(text))
	}
	if string(got) != text {
		return errors.New("it read " + escape.Quote(got))
	}
	return nil
}
