package capture

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/asynclog"
)

// slowTerminal takes one write at a time, each after a while. It is read when the log before it is closed.
type slowTerminal struct {
	bytes.Buffer
	each time.Duration
}

func (s *slowTerminal) Write(p []byte) (int, error) {
	time.Sleep(s.each)
	return s.Buffer.Write(p)
}

// What passed a bridge before its end is written, also what is still queued then. The end does not wait for a terminal that
// stops reading.
func TestLines(t *testing.T) {
	const many = recordsLimit
	for _, tt := range []struct {
		name string
		each time.Duration
		all  bool
	}{{"a terminal", 0, true}, {"one that stops reading", time.Hour, false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				terminal := &slowTerminal{each: tt.each}
				w := asynclog.New(terminal, func(uint64, error) []byte { return []byte("lines are missing\n") })
				records := make(chan bridge.Record, recordsLimit)
				done, ended := make(chan struct{}), make(chan struct{})
				go func() {
					write(w, records, done)
					close(ended)
				}()
				for range many {
					records <- bridge.Record{Time: time.Now(), Direction: bridge.Up, Data: []byte("hello")}
				}
				began := time.Now()
				close(done)
				<-ended
				if took := time.Since(began); took != 0 {
					t.Errorf("the end took %v", took)
				}
				if all := w.Close(time.Second); all != tt.all {
					t.Errorf("everything is written: got %v, want %v", all, tt.all)
				}
				time.Sleep(10_000 * time.Hour) // the terminal goes on, so that no goroutine is left
				if !w.Close(time.Second) {
					t.Error("not everything is written in the end")
				}
				if got := strings.Count(terminal.String(), "hello"); tt.all && got != many {
					t.Errorf("%d records are shown, want %d", got, many)
				}
			})
		})
	}
}
