package ordered_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// plainStream is a Stream in the plainest form: one row of bytes (as b0 to b255) and items (as i0, i1, ...).
type plainStream []string

func (m plainStream) count(kind string) (n int) {
	for _, x := range m {
		if strings.HasPrefix(x, kind) {
			n++
		}
	}
	return n
}

func (m plainStream) bytes() string {
	return strings.Join(slices.DeleteFunc(slices.Clone(m), func(x string) bool { return x[0] != 'b' }), " ")
}

func (m plainStream) run() string {
	n := slices.IndexFunc(m, func(x string) bool { return x[0] == 'i' })
	if n < 0 {
		n = len(m)
	}
	return strings.Join(m[:n], " ")
}

func words(p []byte) string {
	var all []string
	for _, b := range p {
		all = append(all, fmt.Sprintf("b%d", b))
	}
	return strings.Join(all, " ")
}

// Whatever is done to a Stream, and in which order, it does what the plain row of bytes and items does.
func TestStreamIsTheModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		var s ordered.Stream[int]
		var m plainStream
		for step := range 300 {
			what := ""
			same := func(got, want any) {
				t.Helper()
				if got != want {
					t.Fatalf("seed %d, step %d, %s: got %v, want %v", seed, step, what, got, want)
				}
			}
			switch r.IntN(12) {
			case 0, 1, 2:
				p := make([]byte, r.IntN(6))
				for i := range p {
					p[i] = byte(r.Uint32())
					m = append(m, words(p[i:i+1]))
				}
				s.Push(p)
				clear(p) // the stream has copied it
			case 3, 4, 5:
				s.Add(step)
				m = append(m, fmt.Sprint("i", step))
			case 6:
				what = "Item"
				item, ok := s.Item()
				same(ok, len(m) > 0 && m[0][0] == 'i')
				if ok {
					same(fmt.Sprint("i", item), m[0])
					m = m[1:]
				}
			case 7:
				what = "First"
				item, ok := s.First()
				i := slices.IndexFunc(m, func(x string) bool { return x[0] == 'i' })
				same(ok, i >= 0)
				if ok {
					same(fmt.Sprint("i", item), m[i])
					m = slices.Delete(slices.Clone(m), i, i+1)
				}
			case 8:
				if what = "Next"; len(m) == 0 {
					break
				}
				dst := make([]byte, 1+r.IntN(5))
				n, item := s.Next(dst)
				if n == 0 {
					same(fmt.Sprint("i", item), m[0])
					m = m[1:]
					break
				}
				same(n, min(len(dst), len(strings.Fields(m.run()))))
				same(words(dst[:n]), strings.Join(m[:n], " "))
				m = m[n:]
			case 9:
				switch what = "Drop, ItemsFirst"; r.IntN(8) {
				case 0:
					s.Drop()
					m = slices.DeleteFunc(m, func(x string) bool { return x[0] == 'b' })
				case 1:
					s.ItemsFirst()
					slices.SortStableFunc(m, func(a, b string) int { return int(b[0]) - int(a[0]) })
				}
			case 10:
				what = "Delete"
				s.Delete(func(item int) bool { return item%7 == 0 })
				m = slices.DeleteFunc(m, func(x string) bool {
					var n int
					_, err := fmt.Sscanf(x, "i%d", &n)
					return err == nil && n%7 == 0
				})
			case 11:
				what = "Last"
				end := false
				got := s.Last(func(_ int, atEnd bool) bool { end = atEnd; return true })
				same(got != nil, m.count("i") > 0)
				if got != nil {
					i := len(m) - 1
					for m[i][0] != 'i' {
						i--
					}
					same(fmt.Sprint("i", *got), m[i])
					same(end, i == len(m)-1)
					*got += 1000
					m[i] = fmt.Sprint("i", *got)
				}
			}
			same(s.Len(), m.count("b"))
			same(s.Items(), m.count("i"))
			same(s.Empty(), len(m) == 0)
			same(words(s.Bytes()), m.bytes())
			same(words(s.Run()), m.run())
		}
	}
}

// A break takes the NUL with it as which the UART received it, and nothing else.
func TestReceivedBreakHasItsNUL(t *testing.T) {
	brk := uart.Event{Kind: uart.KindLine, Line: uart.LineBreak}
	parity := uart.Event{Kind: uart.KindLine, Line: uart.LineParity}
	for _, tt := range []struct {
		name string
		fill func(*ordered.Received)
		want string
	}{
		{"break and NUL", func(r *ordered.Received) { r.Add(brk); r.Push([]byte("\x00a")) }, `line break "\x00", "a"`},
		{"a NUL before it", func(r *ordered.Received) { r.Push([]byte{0}); r.Add(brk); r.Push([]byte("a")) }, `"\x00", line break "", "a"`},
		{"another event between", func(r *ordered.Received) { r.Add(brk); r.Add(parity); r.Push([]byte{0}) }, `line break "", line parity "", "\x00"`},
		{"an event after the NUL", func(r *ordered.Received) { r.Add(brk); r.Push([]byte{0}); r.Add(parity) }, `line break "\x00", line parity ""`},
		{"another event with a NUL", func(r *ordered.Received) { r.Add(parity); r.Push([]byte{0}) }, `line parity "", "\x00"`},
		{"break, nothing yet", func(r *ordered.Received) { r.Add(brk) }, `line break ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r ordered.Received
			tt.fill(&r)
			var got []string
			for dst := make([]byte, 8); !r.Empty(); {
				n, e := r.Next(dst)
				word := fmt.Sprintf("%q", dst[:n])
				if e.Kind != uart.KindData {
					word = e.String() + " " + word
				}
				got = append(got, word)
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}
