package asynclog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge/asynclog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Second

// file is a log that can be made to block, and to fail.
type file struct {
	mu     sync.Mutex // over text, writes and err
	text   bytes.Buffer
	writes []int // the sizes
	err    error
	part   int // how much of a write that fails is written

	each func() // called at the beginning of each write; may block
}

func (f *file) Write(p []byte) (int, error) {
	if f.each != nil {
		f.each()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		n, _ := f.text.Write(p[:min(f.part, len(p))])
		return n, f.err
	}
	f.writes = append(f.writes, len(p))
	return f.text.Write(p)
}

func (f *file) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *file) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

func notice(n uint64, err error) []byte { return fmt.Appendf(nil, "%d lost: %v\n", n, err) }

// stuckFile returns a log that blocks until free is called.
func stuckFile() (f *file, free func()) {
	stuck := make(chan struct{})
	return &file{each: func() { <-stuck }}, sync.OnceFunc(func() { close(stuck) })
}

// stuckWriter returns a Writer that has begun to write a first line to such a log, in a bubble of synctest.
func stuckWriter() (w *asynclog.Writer, f *file, free func()) {
	f, free = stuckFile()
	w = asynclog.New(f, notice)
	fmt.Fprintln(w, "first")
	synctest.Wait()
	return w, f, free
}

func TestOrder(t *testing.T) {
	f := &file{}
	w := asynclog.New(f, notice)
	var want strings.Builder
	for i := range 1000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := io.WriteString(w, line); n != len(line) || err != nil {
			t.Fatalf("write: got %d, %v", n, err)
		}
	}
	if !w.Close(patience) {
		t.Error("not everything is written")
	}
	if f.String() != want.String() {
		t.Errorf("got\n%s", f)
	}
}

// Each write is whole lines and no larger than what a pipe accepts in one piece, unless one line is.
func TestPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := stuckWriter()
		long := strings.Repeat("l", 5000) + "\n"
		unended := strings.Repeat("u", 4500)
		var want strings.Builder
		want.WriteString("first\n")
		for _, line := range []string{strings.Repeat("a", 2500) + "\n", strings.Repeat("b", 2500) + "\n", "short\n", long, "end\n", unended} {
			_, _ = io.WriteString(w, line)
			want.WriteString(line)
		}
		free()
		if !w.Close(patience) {
			t.Error("not everything is written")
		}
		if f.String() != want.String() {
			t.Errorf("got\n%s", f)
		}
		if got, want := fmt.Sprint(f.writes), fmt.Sprint([]int{6, 2501, 2507, 5001, 4, 4500}); got != want {
			t.Errorf("writes of %s bytes, want %s", got, want)
		}
	})
}

// If the log blocks, Write returns at once, memory is bounded, and missing lines are counted in their place.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := stuckWriter()
		const lines = 100_000
		began := time.Now()
		for i := range lines {
			if n, err := fmt.Fprintf(w, "line %d\n", i); n == 0 || err != nil {
				t.Fatalf("write: got %d, %v", n, err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the writes took %v", took)
		}
		free()
		synctest.Wait()
		fmt.Fprintln(w, "there is room again")
		if !w.Close(patience) {
			t.Error("not everything is written")
		}
		text := f.String()
		if len(text) > 256<<10 {
			t.Errorf("%d bytes were kept", len(text))
		}
		got := strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:]
		kept := len(got) - 2
		for i, line := range got[:kept] {
			if want := fmt.Sprintf("line %d", i); line != want {
				t.Fatalf("line %d: got %q", i, line)
			}
		}
		if kept < 1000 {
			t.Errorf("only %d lines were kept", kept)
		}
		if want := fmt.Sprintf("%d lost: <nil>", lines-kept); got[kept] != want || got[kept+1] != "there is room again" {
			t.Errorf("at the end: got %q, want %q and the line after it", got[kept:], want)
		}
	})
}

// The count is written at the end of a full log too.
func TestBoundAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := stuckWriter()
		const lines = 1000
		for range lines {
			_, _ = w.Write(append(bytes.Repeat([]byte("x"), 1023), '\n'))
		}
		go func() {
			time.Sleep(patience / 2)
			free()
		}()
		if !w.Close(patience) {
			t.Error("not everything is written")
		}
		kept := strings.Count(f.String(), "x\n")
		if want := fmt.Sprintf("x\n%d lost: <nil>\n", lines-kept); kept == lines || !strings.HasSuffix(f.String(), want) {
			t.Errorf("%d lines were kept, the end is %q", kept, f.String()[max(0, f.text.Len()-50):])
		}
	})
}

// Close waits for a blocked log no longer than its patience, however often it is called, and the lines come when they can.
func TestCloseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := stuckWriter()
		fmt.Fprintln(w, "second")
		for range 2 {
			began := time.Now()
			if w.Close(patience) {
				t.Error("Close reports that all is written")
			}
			if took := time.Since(began); took != patience {
				t.Errorf("Close took %v, want %v", took, patience)
			}
		}
		free()
		if !w.Close(patience) || f.String() != "first\nsecond\n" {
			t.Errorf("freed: got %q", f)
		}
	})
}

// Close waits for a slow log as long as something is written, but not for ever.
func TestCloseSlow(t *testing.T) {
	for _, tt := range []struct {
		pieces int
		within time.Duration
		all    bool
	}{{3, 3 * patience, true}, {100, 3 * patience, false}} {
		t.Run(fmt.Sprint(tt.pieces), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &file{}
				f.each = func() { time.Sleep(patience * 9 / 10) }
				w := asynclog.New(f, notice)
				for range tt.pieces {
					_, _ = w.Write([]byte(strings.Repeat("s", 4095) + "\n"))
				}
				began := time.Now()
				all := w.Close(patience)
				if took := time.Since(began); all != tt.all || took > tt.within {
					t.Errorf("got %v after %v, want %v within %v", all, took, tt.all, tt.within)
				}
				if !all {
					time.Sleep(100 * patience) // the rest is written all the same; the test ends after it
				}
			})
		})
	}
}

func TestClosed(t *testing.T) {
	f := &file{}
	w := asynclog.New(f, notice)
	for range 2 {
		if !w.Close(patience) {
			t.Error("a Writer that was never used has something to write")
		}
	}
	if n, err := io.WriteString(w, "late\n"); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write after Close: got %d, %v", n, err)
	}
	if f.String() != "" {
		t.Errorf("got %q", f)
	}
}

// A failing file costs the lines that it did not accept, and a notice says why as soon as it can be written.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{part: 4}
		w := asynclog.New(f, notice)
		fmt.Fprintln(w, "before")
		synctest.Wait()
		f.fail(errors.New("disk full"))
		fmt.Fprint(w, "one\ntwo\nthree\n") // one is written yet
		synctest.Wait()
		f.part = 0
		fmt.Fprintln(w, "four")
		synctest.Wait()
		f.fail(nil)
		fmt.Fprintln(w, "after")
		if !w.Close(patience) {
			t.Error("not everything is written")
		}
		// A notice that fails leaves the part of it that was written.
		if got, want := f.String(), "before\none\n2 lo3 lost: disk full\nafter\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A file that fails for good does not delay Close.
func TestFailureForGood(t *testing.T) {
	f := &file{err: errors.New("disk full")}
	w := asynclog.New(f, notice)
	fmt.Fprintln(w, "one")
	if !w.Close(patience) || f.String() != "" {
		t.Errorf("got %q", f)
	}
}

// A writer that waits for room leaves half of it to others, and gives up when done is closed.
func TestWaitRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := stuckWriter()
		done := make(chan struct{})
		ended := make(chan int)
		wait := func() {
			n := 0
			for n < 1000 && w.WaitRoom(done) {
				fmt.Fprintln(w, strings.Repeat("p", 1023))
				n++
			}
			ended <- n
		}
		go wait()
		synctest.Wait()
		for i := range 60 {
			fmt.Fprintln(w, i, strings.Repeat("q", 1000))
		}
		close(done)
		patient := <-ended
		if patient < 60 || patient > 70 {
			t.Errorf("%d of 128 lines were written with patience", patient)
		}
		done = make(chan struct{})
		go wait()
		synctest.Wait()
		free() // it goes on
		if n := <-ended; n != 1000 {
			t.Errorf("of 1000 lines %d were written with patience", n)
		}
		if !w.Close(patience) {
			t.Error("not everything is written")
		}
		if text := f.String(); strings.Contains(text, "lost") || strings.Count(text, "q\n") != 60 {
			t.Errorf("lines are missing: %d of 60, %q", strings.Count(text, "q\n"), text[max(0, len(text)-100):])
		}
	})
}

// With several writers, each one's lines come whole and in order, and each line is there or counted.
func TestConcurrent(t *testing.T) {
	const writers, each = 8, 5000
	f := &file{}
	w := asynclog.New(f, notice)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for k := range each {
				fmt.Fprintf(w, "%d %d\n", i, k)
			}
		})
	}
	all.Wait()
	if !w.Close(60 * time.Second) {
		t.Fatal("not everything is written")
	}
	next := make([]int, writers)
	there, missing := 0, 0
	for line := range strings.Lines(f.String()) {
		var i, k int
		if n, err := fmt.Sscanf(line, "%d lost: <nil>\n", &i); n == 1 && err == nil {
			missing += i
			continue
		}
		if n, err := fmt.Sscanf(line, "%d %d\n", &i, &k); n != 2 || err != nil || next[i] > k {
			t.Fatalf("got line %q, after %v", line, next)
		}
		next[i] = k + 1
		there++
	}
	if there+missing != writers*each {
		t.Errorf("%d lines are there and %d are missing, want %d in all", there, missing, writers*each)
	}
}

// A line does not allocate once the buffers have grown.
func TestAllocations(t *testing.T) {
	w := asynclog.New(io.Discard, notice)
	line := []byte(strings.Repeat("x", 100) + "\n")
	for range 10_000 {
		_, _ = w.Write(line)
	}
	if n := testing.AllocsPerRun(10_000, func() { _, _ = w.Write(line) }); n > 0 {
		t.Errorf("a line allocates %v times", n)
	}
	if !w.Close(60 * time.Second) {
		t.Error("not everything is written")
	}
}

func BenchmarkWrite(b *testing.B) {
	w := asynclog.New(io.Discard, notice)
	line := []byte(strings.Repeat("x", 100) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(line)
	}
	w.Close(60 * time.Second)
}
