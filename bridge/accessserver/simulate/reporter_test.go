package simulate_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
)

// newReporter opens a simulated instrument inside a synctest bubble and reads its answers.
func newReporter(t *testing.T) *devicetest.Bench {
	t.Helper()
	d, err := new(simulate.Reporter).Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b := devicetest.New(t, d)
	return b.Read()
}

// settle waits until the line is quiet.
func settle() {
	time.Sleep(time.Hour)
	synctest.Wait()
}

func TestReporter(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct{ name, coding, line, want string }{
		{"LF", "4800 7E1", "07\n", "07 4800 7E1\n"},
		{"CR", "9600 8N1", "07\r", "07 9600 8N1\r"},
		{"CR LF", "300 8N2", "a b\r\nc\r\n", "a b 300 8N2\r\nc 300 8N2\r\n"},
		{"LF CR", "300 8N2", "a\n\r", "a 300 8N2\n 300 8N2\r"},
		{"an empty line", "19200 5O1.5", "\n\n", " 19200 5O1.5\n 19200 5O1.5\n"},
		{"only the bits of the coding", "9600 7E1", "\xb0\xb7\x8a", "07 9600 7E1\n"},
		{"no line end", "9600 8N1", "07", ""},
		{"a very long line", "9600 8N1", long + "\n", long[:1024] + " 9600 8N1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newReporter(t)
				b.Set(devicetest.Coding(t, tt.coding))
				b.Send(tt.line)
				settle()
				if got := string(b.Bytes); got != tt.want {
					t.Errorf("answer to %.40q: got %.80q, want %.80q", tt.line, got, tt.want)
				}
				b.End()
			})
		})
	}
}

// The answer begins after the end of the line, and takes the time of its bytes.
func TestReporterPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReporter(t)
		e := devicetest.Coding(t, "300 7E1")
		b.Set(e)
		b.Send("0123456789\n")
		settle()
		want := e.Coding.LineTime(len("0123456789\n") + len("0123456789 300 7E1\n"))
		if ratio := float64(b.When) / float64(want); math.Abs(ratio-1) > 0.01 {
			t.Errorf("line and answer took %v, want %v", b.When, want)
		}
		b.End()
	})
}

// Each line is answered with the coding that it was sent with.
func TestReporterCodings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReporter(t)
		var want strings.Builder
		for _, c := range []string{"1200 7E1", "9600 8N1", "115200 8O2", "300 7M1"} {
			b.Set(devicetest.Coding(t, c))
			b.Send("x\n")
			want.WriteString("x " + c + "\n")
			settle()
		}
		if got := string(b.Bytes); got != want.String() {
			t.Errorf("answers: got %q, want %q", got, want.String())
		}
		b.End()
	})
}

// While nobody reads the answers a bounded number is kept, and none is lost.
func TestReporterNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := new(simulate.Reporter).Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		b := devicetest.New(t, d)
		b.Set(devicetest.Coding(t, "20000000 8N1"))
		const lines = 20_000
		written := make(chan struct{})
		go func() {
			defer close(written)
			for range lines / 100 {
				b.Send(strings.Repeat("\n", 100))
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-written:
			t.Error("everything was accepted though nobody reads")
		default:
		}
		b.Read()
		<-written
		settle()
		if got, want := len(b.Bytes), lines*len(" 20000000 8N1\n"); got != want {
			t.Errorf("answers: got %d bytes, want %d", got, want)
		}
		b.End()
	})
}
