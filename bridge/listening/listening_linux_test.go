package listening

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// Lines as Linux 6.18 on amd64 writes them; a big-endian machine would write the addresses the other way round.
func TestParseTable(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0E70 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 101 1 000000006d9f1d4f 100 0 0 10 0
   1: 00000000:0E70 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 000000006d9f1d4f 100 0 0 10 0
   2: 0100007F:0E70 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 103 1 000000006d9f1d4f 20 4 30 10 -1
   3: 00000000:0E71 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 104 1 000000006d9f1d4f 100 0 0 10 0
   4: B80D0120000000000000000001000000:0E70 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 105 1 000000006d9f1d4f 100 0 0 10 0
   5: 0000000000000000FFFF00000100007F:0E70 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 106 1 000000006d9f1d4f 100 0 0 10 0
   6: 00:0E70 00:0000 0A 0:0 0:0 0 0 0 107 1
   7: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 108 1
   8: XY00007F:0E70 00000000:0000 0A 0:0 0:0 0 0 0 109 1
   9: 0100007F:0E70
`
	got, err := parseTable(strings.NewReader(text), 3696)
	if err != nil {
		t.Fatal(err)
	}
	rows := [][3]string{}
	for _, s := range got {
		rows = append(rows, [3]string{s.address.String(), s.uid, s.inode})
	}
	want := [][3]string{
		{"127.0.0.1:3696", "1000", "101"}, {"0.0.0.0:3696", "0", "102"},
		{"[2001:db8::1]:3696", "7", "105"}, {"127.0.0.1:3696", "7", "106"},
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("got  %v\nwant %v", rows, want)
	}
}

func TestParseTableUnreadable(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("x\n"), iotest.ErrReader(broken))
	if _, err := parseTable(r, 3696); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestUserWithoutName(t *testing.T) {
	if got := userName("4000000000"); got != "4000000000" {
		t.Errorf("got %q, want the number", got)
	}
}
