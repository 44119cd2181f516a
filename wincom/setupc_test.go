package wincom_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telnetcpc/wincom"
)

func TestParsePortName(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"COM9", "COM9"}, {"com9", "COM9"}, {`\\.\COM12`, "COM12"}, {"Com4096", "COM4096"},
		{"", ""}, {"COM", ""}, {"COM0", ""}, {"COM09", ""}, {"COM4097", ""}, {"COM-1", ""}, {"COM+1", ""}, {"COM9:", ""},
		{"CNCB0", ""}, {"LPT1", ""}, {"COM 9", ""}, {"/dev/ttyV0", ""}, {`\\.\`, ""}, {"COM9,dcd=on", ""}, {"COM99999999999", ""},
	} {
		got, err := wincom.ParsePortName(tt.given)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.given, got, err, tt.want)
		}
	}
}

// Output of setupc, with lines that are not pairs.
func TestParsePairs(t *testing.T) {
	const text = "       CNCA0 PortName=COM9,dcd=rout1,ri=!rout2\r\n" +
		"       CNCB0 PortName=CNCB0,dcd=ropen,HiddenMode=yes\r\n" +
		"       CNCA10 PortName=COM#,RealPortName=COM3\r\n" +
		"       CNCB10 PortName=-\r\n" +
		"       CNCA2 PortName=-\n       CNCB2 PortName=COM#,RealPortName=-,EmuBR=yes\n" +
		"       CNCA7 PortName=COM77\n" + // no peer
		"change CNCA0 PortName=COM8\n" +
		"       change CNCA0 PortName=COM8\n" +
		"ComDB: COM9 - logged as \"in use\"\nRestarted CNCA0 com0com\\port \\Device\\com0com10\n" +
		"       CNCA99999999999999999999 PortName=COM8\n" +
		"       CNCX0 PortName=COM8\n\n   \n       CNCB3\n"
	want := []wincom.Pair{
		{Number: 0, A: end("CNCA0", "COM9", "dcd=rout1", "ri=!rout2"), B: end("CNCB0", "CNCB0", "dcd=ropen", "HiddenMode=yes")},
		{Number: 2, A: end("CNCA2", "CNCA2"), B: end("CNCB2", "COM#", "EmuBR=yes")},
		{Number: 10, A: end("CNCA10", "COM3"), B: end("CNCB10", "CNCB10")},
	}
	got := wincom.ParsePairs(text)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, ours := range []bool{true, false, false} {
		if got[i].Ours() != ours {
			t.Errorf("%+v: ours: got %v", got[i], !ours)
		}
	}
	if p, ok := wincom.FindPair(got, "com3"); !ok || p.Number != 10 {
		t.Errorf("COM3: got %+v, %v", p, ok)
	}
	if e, peer, ok := got[0].Of("cncb0"); !ok || e.ID != "CNCB0" || peer.ID != "CNCA0" {
		t.Errorf("CNCB0: got %+v, %+v, %v", e, peer, ok)
	}
	if wincom.ParsePairs("") != nil {
		t.Error("empty output has pairs")
	}
}

func end(id, name string, parameters ...string) wincom.End {
	return wincom.End{ID: id, Name: name, Parameters: parameters}
}

// fakeSetupc is a fake of com0com's setupc.exe, with its pairs and the names that are taken.
type fakeSetupc struct {
	pairs  map[string][2]string // number: the parameters of its ends
	busy   []string
	stuck  bool // a program has the port open: it exits with 0 but does nothing
	fails  string
	called [][]string
}

func (f *fakeSetupc) run(_ context.Context, arguments ...string) (string, error) {
	f.called = append(f.called, arguments)
	words := slices.DeleteFunc(slices.Clone(arguments), func(w string) bool { return w == "--wait" || w == "60" })
	if words[0] == f.fails {
		return "", errors.New("exit status 1: \"it does not want to\"")
	}
	switch words[0] {
	case "list":
		return f.list(), nil
	case "busynames":
		if slices.Contains(f.busy, words[1]) {
			return words[1] + "\r\n", nil
		}
		return "", nil
	case "install":
		if f.stuck {
			return "The device was not installed\r\n", nil
		}
		f.pairs[words[1]] = [2]string{words[2], words[3]}
		return f.list() + "ComDB: COM9 - logged as \"in use\"\r\n", nil
	case "remove":
		if f.stuck {
			return "Reboot required\r\n", nil
		}
		delete(f.pairs, words[1])
		return "Removed CNCA0\r\n", nil
	}
	return "", fmt.Errorf("unknown command %v", words)
}

func (f *fakeSetupc) list() string {
	var text strings.Builder
	for number, ends := range f.pairs {
		fmt.Fprintf(&text, "       CNCA%s %s\r\n       CNCB%s %s\r\n", number, ends[0], number, ends[1])
	}
	return text.String()
}

func theirPair(name string) [2]string { return [2]string{"PortName=" + name, "PortName=-"} }

func TestSetupcAdd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		setupc fakeSetupc
		number int
		want   string // of the error; empty: the pair is made
		is     error
	}{
		{"the first", fakeSetupc{}, 0, "", nil},
		{"next to another's", fakeSetupc{pairs: map[string][2]string{"0": theirPair("COM4"), "2": theirPair("COM5")}}, 1, "", nil},
		{"number 0 has a name that is taken", fakeSetupc{busy: []string{"CNCB0"}}, 1, "", nil},
		{"another's pair", fakeSetupc{pairs: map[string][2]string{"3": theirPair("COM9")}}, 0,
			"the name is taken: COM9 is an end of com0com pair 3 already", wincom.ErrNameTaken},
		{"another device", fakeSetupc{busy: []string{"COM9"}}, 0,
			"the name is taken: another device has COM9, or had it and Windows keeps it reserved (choose another name)", wincom.ErrNameTaken},
		{"setupc does nothing", fakeSetupc{stuck: true}, 0, `setupc install made no pair with COM9; its output: "The device was not installed"`, nil},
		{"list fails", fakeSetupc{fails: "list"}, 0, `setupc list: exit status 1: "it does not want to"`, nil},
		{"busynames fails", fakeSetupc{fails: "busynames"}, 0, `setupc busynames: exit status 1: "it does not want to"`, nil},
		{"install fails", fakeSetupc{fails: "install"}, 0, `setupc install: exit status 1: "it does not want to"`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &tt.setupc
			if f.pairs == nil {
				f.pairs = map[string][2]string{}
			}
			p, err := wincom.Setupc{Run: f.run}.Add(t.Context(), "COM9")
			if tt.want != "" {
				if err == nil || err.Error() != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
					t.Fatalf("got %v, want %s", err, tt.want)
				}
				return
			}
			id := strconv.Itoa(tt.number)
			want := wincom.Pair{Number: tt.number, A: end("CNCA"+id, "COM9", "dcd=rout1", "ri=!rout2"),
				B: end("CNCB"+id, "CNCB"+id, "dcd=ropen", "HiddenMode=yes")}
			if err != nil || !reflect.DeepEqual(p, want) || !p.Ours() {
				t.Errorf("got %+v, %v, want %+v", p, err, want)
			}
		})
	}
}

// The exact command that makes a pair: setupc requires its options first, no spaces, and less than 200 characters.
func TestSetupcInstallCommand(t *testing.T) {
	f := &fakeSetupc{pairs: map[string][2]string{}}
	if _, err := (wincom.Setupc{Run: f.run}).Add(t.Context(), "COM9"); err != nil {
		t.Fatal(err)
	}
	want := []string{"--wait", "60", "install", "0", "PortName=COM9,dcd=rout1,ri=!rout2", "PortName=CNCB0,dcd=ropen,HiddenMode=yes"}
	if !slices.ContainsFunc(f.called, func(c []string) bool { return slices.Equal(c, want) }) {
		t.Errorf("got %q, want among them %q", f.called, want)
	}
	busy := slices.IndexFunc(f.called, func(c []string) bool { return slices.Equal(c, []string{"busynames", "COM9"}) })
	install := slices.IndexFunc(f.called, func(c []string) bool { return slices.Equal(c, want) })
	if busy < 0 || busy > install {
		t.Errorf("the name was not checked before it was taken: %q", f.called)
	}
}

func TestSetupcRemove(t *testing.T) {
	for _, tt := range []struct {
		name   string
		setupc fakeSetupc
		want   string
		is     error
	}{
		{"another's, by name", fakeSetupc{pairs: map[string][2]string{"0": theirPair("COM4"), "7": theirPair("COM9")}}, "", nil},
		{"none", fakeSetupc{pairs: map[string][2]string{"0": theirPair("COM4")}}, "COM9: no com0com pair has it", wincom.ErrNoPair},
		{"it is open", fakeSetupc{stuck: true, pairs: map[string][2]string{"7": theirPair("COM9")}},
			`setupc remove did not remove pair 7; its output: "Reboot required" (a program may have COM9 open: end it, then try again)`, nil},
		{"remove fails", fakeSetupc{fails: "remove", pairs: map[string][2]string{"7": theirPair("COM9")}},
			`setupc remove: exit status 1: "it does not want to"`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &tt.setupc
			had := len(f.pairs)
			p, err := wincom.Setupc{Run: f.run}.Remove(t.Context(), "COM9")
			if tt.want != "" {
				if err == nil || err.Error() != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if len(f.pairs) != had {
					t.Error("a pair was removed all the same")
				}
				return
			}
			if err != nil || p.Number != 7 || p.Ours() || len(f.pairs) != had-1 {
				t.Errorf("got %+v, %v, %d pairs left", p, err, len(f.pairs))
			}
		})
	}
}

func FuzzParsePairsTerminates(f *testing.F) {
	f.Add("       CNCA0 PortName=COM9,dcd=rout1\r\n       CNCB0 PortName=-\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range wincom.ParsePairs(text) {
			if p.Number < 0 || p.A.Name == "" || p.B.Name == "" || strings.ContainsAny(p.A.Name+p.B.Name, "\n\r ,") {
				t.Errorf("got %+v of %q", p, text)
			}
		}
	})
}
