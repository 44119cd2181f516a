package uarttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	// madeAgain is how often a port is made again. After madeAgainFor the test stops early, but not before
	// madeAgainLeast.
	madeAgain      = 100
	madeAgainLeast = 10
	madeAgainFor   = 20 * time.Second
)

// testMadeAgain: a closed port can be made again at its path at once, any number of times, while the program that had
// the old one open still has its descriptor, which is hung up. Earlier ports leave no descriptor and no file; nor does
// a port that could not be made.
func testMadeAgain(b *bench) {
	path := b.programs.Path(b.T)
	beside, descriptors := entries(filepath.Dir(path)), len(entries("/proc/self/fd"))
	var held Program // of the port before
	release := func() {
		if held != nil {
			_ = held.Close() // it may fail: the port is gone
			held = nil
		}
	}
	began := time.Now()
	for i := range madeAgain {
		if i >= madeAgainLeast && time.Since(began) > madeAgainFor {
			b.Logf("made again %d times in %v", i, madeAgainFor)
			break
		}
		if !b.Run(fmt.Sprint(i), func(t *testing.T) {
			b := &bench{T: t, host: b.host, programs: b.programs}
			b.startAt(path)
			if second, err := b.open(); err == nil {
				_ = second.Close()
				b.Error("a second port at the path of the first was made")
			}
			p := b.openFirst()
			release()
			b.delivers(p, []byte("down"))
			if b.lasting() {
				b.lastClose(p)
				return
			}
			b.opened, held = nil, p
		}) {
			break
		}
	}
	release()
	b.eventually("no more descriptors are open than before", func() bool { return len(entries("/proc/self/fd")) <= descriptors })
	if now := entries(filepath.Dir(path)); !b.virtual() && !slices.Equal(now, beside) {
		b.Errorf("the directory of the ports has %q, want %q as before", now, beside)
	}
}

// entries are the names in a directory; none if there is no such directory.
func entries(dir string) (names []string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
