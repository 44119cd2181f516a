// Package capture writes what passes a bridge. It is an observer of the bridge, so a reader that stops reading loses
// records and never slows a port. It knows records and how they are written; it must not know where they go. Its callers
// are the commands that have -v.
package capture

import (
	"fmt"
	"sync"

	"telnetcpc/bridge"
	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/escape"
)

// recordsLimit is how many records may wait to be written before more are dropped.
const recordsLimit = 4096

// Lines writes a line for each record of b to w until stop is called. stop does not wait for a terminal; it writes the
// queued records that w has room for, and how many records were dropped.
func Lines(b *bridge.Bridge, w *asynclog.Writer) (stop func()) {
	o := bridge.NewObserver(recordsLimit)
	unwatch := b.Watch(o)
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { write(w, o.Records(), done) }) // ends with stop
	return func() {
		unwatch()
		close(done)
		writing.Wait()
		if n := o.Lost(); n > 0 {
			fmt.Fprintf(w, "telnetcpc: %d records were not shown: the terminal was too slow\n", n)
		}
	}
}

// write writes records until done is closed, and leaves room in w for the log.
func write(w *asynclog.Writer, records <-chan bridge.Record, done <-chan struct{}) {
	for going := true; going; {
		select {
		case r := <-records:
			fmt.Fprintln(w, line(r))
			going = w.WaitRoom(done)
		case <-done:
			going = false
		}
	}
	for range len(records) { // nothing is added any more
		fmt.Fprintln(w, line(<-records))
	}
}

// line returns a record as "15:04:05.000 up   5 "hello"".
func line(r bridge.Record) string {
	at := r.Time.Format("15:04:05.000")
	if r.Data == nil {
		return fmt.Sprintf("%s %-4s %s", at, r.Direction, escape.Line(r.Event.String()))
	}
	return fmt.Sprintf("%s %-4s %d %s", at, r.Direction, len(r.Data), escape.Quote(r.Data))
}
