package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const run = `
{"ImportPath":"m/broken [m/broken.test]","Action":"build-output","Output":"broken_test.go:3: syntax error\n"}
{"Action":"start","Package":"m/broken"}
{"Action":"fail","Package":"m/broken","Elapsed":0}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a_test.go:9: got 1, want 2\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad"}
{"Action":"output","Package":"m/a","Test":"TestMoon","Output":"    a_test.go:12: the moon is: down\n"}
{"Action":"output","Package":"m/a","Test":"TestMoon","Output":"--- SKIP: TestMoon (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestMoon"}
{"Action":"fail","Package":"m/a","Elapsed":1.5}
{"Action":"skip","Package":"m/none"}
{"Action":"run","Package":"m/killed","Test":"TestLong"}
`

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name    string
		need    bool
		allowed map[string]string
		counts  [3]int // passed, failed, skipped
		says    []string
	}{
		{"a skip is a skip", false, nil, [3]int{1, 4, 1}, []string{
			"syntax error", "FAIL    m/a TestBad", "got 1, want 2", "skip    m/a TestMoon: the moon is: down",
			"FAIL    m/killed: did not end", "FAIL    m/killed TestLong: did not end", "m/none: no test files",
		}},
		{"under need it is a failure", true, nil, [3]int{1, 5, 0}, []string{"FAIL    m/a TestMoon: skipped"}},
		{"but where it is allowed", true, map[string]string{"TestMoon": "we have no moon"}, [3]int{1, 4, 1}, []string{
			"skip    m/a TestMoon: the moon is: down (may skip: we have no moon)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out, tt.need, tt.allowed)
			if err := r.read(strings.NewReader(strings.TrimPrefix(run, "\n"))); err != nil {
				t.Fatal(err)
			}
			r.end()
			if got := [3]int{r.passed, len(r.failed), r.skipped}; got != tt.counts {
				t.Errorf("passed, failed, skipped: got %v, want %v", got, tt.counts)
			}
			if !slices.Contains(r.failed, "m/a TestBad: got 1, want 2") {
				t.Errorf("failed: got %q, want m/a TestBad and what it said among them", r.failed)
			}
			for _, want := range tt.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %q, want %q in it", out.String(), want)
				}
			}
		})
	}
}
