package interop

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// report is the part of `probe --json` that the tests use.
type report struct {
	AccessServer bool   `json:"access_server"`
	LooksLike    string `json:"looks_like"`
	Signature    string `json:"signature"`
	Settings     map[string]struct {
		Asked  bool   `json:"asked"`
		Answer string `json:"answer"`
	} `json:"settings"`
	RTT struct {
		TimingMark *float64 `json:"timing_mark"`
	} `json:"rtt_ms"`
	Deviations []struct{ Name, Seen, Means string }
}

// probe runs the command and returns its report; the exit status must be as wanted.
func probe(t *testing.T, status int, args ...string) report {
	t.Helper()
	r, got := probed(t, args...)
	if got != status {
		t.Errorf("exit status %d, want %d: %+v", got, status, r)
	}
	return r
}

// probed returns the report of a probe and its exit status.
func probed(t *testing.T, args ...string) (r report, status int) {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"probe", "--timeout", "1m", "--json"}, args...)...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	p := start(t, cmd)
	select {
	case <-p.done:
	case <-time.After(2 * testenv.Patience):
		t.Fatal("the probe does not end")
	}
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&r); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	if decoder.More() {
		t.Error("there is more than one document")
	}
	return r, cmd.ProcessState.ExitCode()
}

// whole returns a device's complete termios.
func (d *device) whole(t *testing.T) unix.Termios {
	t.Helper()
	tio, err := unix.IoctlGetTermios(d.fd, unix.TCGETS2)
	if err != nil {
		t.Fatalf("TCGETS2 of %s: %v", d.Name(), err)
	}
	return *tio
}

// A probe reports the settings of the device, changes none and sends it no byte.
func TestProbe(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		// Settings that are no server's default. pyserial's server keeps them; ser2net sets its own 9600 when a client
		// comes, and restores the previous settings when it leaves.
		app := openPort(t, attach(t, s.url()))
		app.set(t, termios{baud: 19200, stop: 2})
		d.arrives(t, termios{baud: 19200, stop: 2})
		_ = app.Close()
		eventually(t, "the agent's session is over", func() bool { return len(s.sessions()) == 0 })
		baud, stop := "19200", "2"
		if k.name == "ser2net" {
			baud, stop = "9600", "1"
			eventually(t, "ser2net has restored the settings", func() bool { return d.termios(t).baud == 300 })
		}
		before := d.whole(t)

		r := probe(t, 0, s.url())

		if !r.AccessServer || !strings.HasPrefix(r.LooksLike, "an RFC 2217 access server") {
			t.Errorf("access server: %v, looks like %q", r.AccessServer, r.LooksLike)
		}
		for name, want := range map[string]string{
			"baud": baud, "data_size": "8", "parity": "none", "stop_size": stop, "flow_out": "none",
		} {
			if got := r.Settings[name]; !got.Asked || got.Answer != want {
				t.Errorf("%s: got %+v, want %s", name, got, want)
			}
		}
		if len(r.Settings) != 9 {
			t.Errorf("got %d settings, want 9: %v", len(r.Settings), r.Settings)
		}
		if r.RTT.TimingMark == nil {
			t.Error("no timing mark was answered")
		}
		if k.name == "ser2net" && r.Signature != "ser2net" {
			t.Errorf("signature %q, want ser2net", r.Signature)
		}
		eventually(t, "the probe's session is over", func() bool { return len(s.sessions()) == 0 })
		eventually(t, "the device's termios is what it was", func() bool { return d.whole(t) == before })
		if n := d.waiting(t); n != 0 {
			t.Errorf("%d bytes reached the device", n)
		}
	})
}

// While its port is in use, ser2net negotiates and sends a text. Occasionally that text overwrites its DO COM-PORT
// ("Port already in use\r\nt already in use\r\n"): then nothing shows that it is an access server.
func TestProbeOfPortInUse(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	app := openSession(t, attach(t, s.url()), d)
	for try := 1; ; try++ {
		r, status := probed(t, s.url())
		if status == 1 && try < 20 && strings.HasPrefix(r.LooksLike, "a port in use by another client") {
			t.Logf("looks like %q", r.LooksLike)
			continue
		}
		if status != 0 || len(r.Deviations) != 1 || r.Deviations[0].Name != "in-use" {
			t.Errorf("exit status %d, %+v", status, r)
		}
		break
	}
	exchange(t, app, d.line, []byte("the first client is served as before"))
}
