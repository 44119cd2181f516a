package wincom

import (
	"errors"
	"strings"
	"testing"
)

// What doctor reports about a driver: why it does not work, and what else to know.
func TestDriver(t *testing.T) {
	running := driver{name: "com0com", from: "it is at example.org", service: serviceRunning, version: "2.2.2.0", signer: "Pete Batard"}
	with := func(d driver, change func(*driver)) driver { change(&d); return d }
	refused := with(running, func(d *driver) {
		d.service, d.problems = serviceStopped, []problem{{`ROOT\COM0COM\0000`, codeUnsigned}}
	})
	about := "driver 2.2.2.0, running, signed by Pete Batard"
	const withdrawn = "Microsoft did not sign the driver: since April 2026 this version of Windows stops trusting such drivers after an evaluation of " +
		"100 hours and 3 restarts (if it no longer loads: install a build that Microsoft signed, allow it in an App Control policy, or use test signing)"
	const secure = "Secure Boot is on: a driver that Microsoft did not sign loads only if its certificate is from before 29 July 2015 " +
		"(if it no longer loads, it has Code 52, and doctor reports the way out)"
	for _, tt := range []struct {
		name    string
		kernel  kernel
		driver  driver
		wantErr string   // empty: it works
		notes   []string // if it works
	}{
		{"Windows 10", kernel{build: 19045}, running, "", []string{about}},
		{"Windows 10, Secure Boot", kernel{build: 19045, secureBoot: true}, running, "", []string{about, secure}},
		{"Windows 11 24H2", kernel{build: 26100}, running, "", []string{about, withdrawn}},
		{"Windows 11 25H2, Secure Boot", kernel{build: 26200, secureBoot: true}, running, "", []string{about, withdrawn, secure}},
		{"Windows 11 23H2", kernel{build: 22631}, running, "", []string{about}},
		{"signed by Microsoft", kernel{build: 26200, secureBoot: true},
			with(running, func(d *driver) { d.signer = "Microsoft Windows Hardware Compatibility Publisher" }), "",
			[]string{"driver 2.2.2.0, running, signed by Microsoft Windows Hardware Compatibility Publisher"}},
		{"test signing", kernel{build: 26200, testSigning: true}, running, "", []string{about,
			"test signing is on: Windows loads drivers that anyone signed (once it is no longer needed: bcdedit /set testsigning off)"}},
		{"no signature, no version, no device", kernel{build: 19045}, driver{service: serviceStopped}, "",
			[]string{"driver, stopped, no signer in its file (its catalog may have one)"}},
		{"signed only in its catalog", kernel{build: 26100}, driver{service: serviceRunning}, "", []string{
			"driver, running, no signer in its file (its catalog may have one)", "if" + strings.Replace(withdrawn, "Microsoft", " Microsoft", 1)}},
		{"not installed", kernel{build: 26200, secureBoot: true}, with(running, func(d *driver) { d.service = serviceMissing }),
			"not installed (it is at example.org)", nil},
		{"Code 52, Secure Boot", kernel{secureBoot: true}, refused,
			"Windows refuses the driver 2.2.2.0, Code 52: it does not accept the signature of Pete Batard, and Secure Boot is on " +
				"(install a build that Microsoft signed, or whose certificate is from before 29 July 2015; or, only for a test, " +
				"switch Secure Boot off in the firmware and run: bcdedit /set testsigning on)", nil},
		{"Code 52", kernel{}, with(refused, func(d *driver) { d.signer, d.version = "", "" }),
			"Windows refuses the driver, Code 52: it does not accept the signature (install a build that Microsoft signed; or, only for " +
				"a test, run in an administrator's command prompt: bcdedit /set testsigning on, then restart)", nil},
		{"Code 52, test signing", kernel{testSigning: true}, refused,
			"Windows refuses the driver 2.2.2.0, Code 52: it does not accept the signature of Pete Batard, although test signing is on " +
				"(the driver's file is not signed at all, or damaged: reinstall it)", nil},
		{"Code 52 after another", kernel{testSigning: true},
			with(refused, func(d *driver) { d.problems = append([]problem{{"CNCA0", codeDisabled}}, d.problems...) }),
			"Windows refuses the driver 2.2.2.0, Code 52: it does not accept the signature of Pete Batard, although test signing is on " +
				"(the driver's file is not signed at all, or damaged: reinstall it)", nil},
		{"restart", kernel{}, troubled(codeRestart), `the device ROOT\COM0COM\0000 is not started by Windows: Code 14 (restart Windows)`, nil},
		{"disabled", kernel{}, troubled(codeDisabled),
			`the device ROOT\COM0COM\0000 is not started by Windows: Code 22 (it is disabled: enable it in Device Manager)`, nil},
		{"no driver", kernel{}, troubled(codeNoDriver),
			`the device ROOT\COM0COM\0000 is not started by Windows: Code 28 (its driver is not installed: reinstall it)`, nil},
		{"damaged", kernel{}, troubled(codeLoad),
			`the device ROOT\COM0COM\0000 is not started by Windows: Code 39 (its driver is missing or damaged: reinstall it)`, nil},
		{"blocked", kernel{}, troubled(codeBlocked),
			`the device ROOT\COM0COM\0000 is not started by Windows: Code 48 (Windows blocks this driver because it is known to be harmful or incompatible: install another version)`, nil},
		{"something else", kernel{}, troubled(10),
			`the device ROOT\COM0COM\0000 is not started by Windows: Code 10 (the device's properties in Device Manager have details)`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.kernel.driverError(tt.driver); err != nil {
				got = err.Error()
			}
			if got != tt.wantErr {
				t.Errorf("got  %s\nwant %s", got, tt.wantErr)
			}
			if tt.wantErr == "" {
				wantLines(t, tt.kernel.driverNotes(tt.driver), tt.notes)
			}
		})
	}
	if notes := (kernel{}).driverNotes(driver{service: serviceMissing}); notes != nil {
		t.Errorf("not installed: got the notes %q", notes)
	}
}

func troubled(code uint32) driver {
	return driver{service: serviceRunning, problems: []problem{{`ROOT\COM0COM\0000`, code}}}
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// What doctor reports about a pair: its pins, which programs have it open, which lists of ports show it.
func TestPairNotes(t *testing.T) {
	ours := Pair{
		A: End{ID: "CNCA0", Name: "COM9", Parameters: []string{"dcd=rout1", "ri=!rout2"}},
		B: End{ID: "CNCB0", Name: "CNCB0", Parameters: []string{"HiddenMode=yes", "dcd=ropen"}},
	}
	listed := pairFacts{pair: ours, inDeviceMap: true, inPortsClass: true, asInterface: true}
	with := func(f pairFacts, change func(*pairFacts)) pairFacts { change(&f); return f }
	const everywhere = "COM9 <-> CNCB0: COM9 is in every list of ports"
	const wayOut = " (in com0com's folder: setupc change CNCA0 dcd=rout1,ri=!rout2, and setupc change CNCB0 dcd=ropen,HiddenMode=yes)"
	for _, tt := range []struct {
		name  string
		facts pairFacts
		want  []string
	}{
		{"listed everywhere", listed, []string{everywhere}},
		{"as setupc makes it", with(listed, func(f *pairFacts) { f.inPortsClass = false }), []string{
			"COM9 <-> CNCB0: COM9 is in the device map SERIALCOMM and the device interface of serial ports, not in Device Manager's class Ports " +
				"(in programs that list only those, type the name; or, in com0com's folder: setupc change CNCA0 PortName=COM#, then setupc change CNCA0 RealPortName=COM9)"}},
		{"in Device Manager only", with(listed, func(f *pairFacts) { f.inDeviceMap, f.asInterface = false, false }), []string{
			"COM9 <-> CNCB0: COM9 is in Device Manager's class Ports, not in the device map SERIALCOMM and the device interface of serial ports " +
				"(in programs that list only those, type the name)"}},
		{"in no list", pairFacts{pair: ours}, []string{"COM9 <-> CNCB0: COM9 is in no list of ports (type its name into the program)"}},
		{"open", with(listed, func(f *pairFacts) { f.holderA, f.holderB = "putty.exe, pid 12", "hub4com.exe, pid 7" }), []string{
			"COM9 <-> CNCB0: COM9 is open in putty.exe, pid 12 (a second program cannot open it)",
			"COM9 <-> CNCB0: CNCB0 is held by hub4com.exe, pid 7 (another agent cannot serve COM9 until that program ends)",
			everywhere}},
		{"absent", with(listed, func(f *pairFacts) { f.pair.Absent = true }), []string{
			"COM9 <-> CNCB0: configured, but its ports do not exist (restart Windows; or, if it is not needed: telnetcpc pair remove COM9)"}},
		{"default pins", with(listed, func(f *pairFacts) { f.pair.A.Parameters, f.pair.B.Parameters = nil, nil }), []string{
			"COM9 <-> CNCB0: its pins do not show DCD, RI to the application, do not show when it opens the port" + wayOut, everywhere}},
		{"pins that hide DTR and RTS", with(listed, func(f *pairFacts) { f.pair.B.Parameters = []string{"dcd=ropen", "cts=on", "dsr=!on"} }), []string{
			"COM9 <-> CNCB0: its pins do not show its DTR, do not show its RTS" + wayOut, everywhere}},
		{"unknown pins", with(listed, func(f *pairFacts) { f.pair.A.Parameters = []string{"dcd=moon"} }), []string{
			`COM9 <-> CNCB0: its pins cannot be read: dcd=moon: pin "moon": want one of rrts, rdtr, rout1, rout2, ropen, lrts, ldtr, lout1, lout2, lopen, on, with ! before it for the inverse` + wayOut,
			everywhere}},
	} {
		t.Run(tt.name, func(t *testing.T) { wantLines(t, tt.facts.notes(), tt.want) })
	}
}

// All notes about a machine, in order.
func TestNotes(t *testing.T) {
	d := driver{service: serviceRunning, version: "3.0.0.0"}
	const about = "driver 3.0.0.0, running, no signer in its file (its catalog may have one)"
	const noSetupc = "setupc.exe was not found: pair add and pair remove need it (install com0com with its own installer)"
	shown := pairFacts{pair: Pair{A: End{ID: "CNCA0", Name: "COM9", Parameters: ourParametersA}, B: End{ID: "CNCB0", Name: "CNCB0", Parameters: ourParametersB}},
		inDeviceMap: true, inPortsClass: true, asInterface: true}
	for _, tt := range []struct {
		facts facts
		want  []string
	}{
		{facts{driver: d, setupc: true}, []string{about, "there is no pair yet (telnetcpc pair add COM9)"}},
		{facts{driver: d, elevated: true, pairs: []pairFacts{shown}}, []string{about, noSetupc, "COM9 <-> CNCB0: COM9 is in every list of ports"}},
		{facts{driver: d, setupc: true, pairs: []pairFacts{shown}}, []string{about, "COM9 <-> CNCB0: COM9 is in every list of ports",
			`it is unknown whether services or other users' programs have a port open (run doctor in a command prompt opened by "Run as administrator")`}},
		{facts{driver: d, setupc: true, pairsErr: errors.New("registry: access is denied")}, []string{about, "cannot read the pairs: registry: access is denied"}},
	} {
		wantLines(t, tt.facts.notes(), tt.want)
		if got := On(examined{facts: tt.facts}).Notes(); len(got) != len(tt.want) {
			t.Errorf("Notes: got %q", got)
		}
	}
	if got := On(struct{ System }{}).Notes(); got != nil {
		t.Errorf("a system without notes: got %q", got)
	}
}

// examined is a System with these facts.
type examined struct {
	System
	facts facts
}

func (p examined) Notes() []string { return p.facts.notes() }

func TestImageFile(t *testing.T) {
	for image, want := range map[string]string{
		`\SystemRoot\system32\DRIVERS\com0com.sys`:  `C:\Windows\system32\DRIVERS\com0com.sys`,
		`%SystemRoot%\System32\drivers\com0com.sys`: `C:\Windows\System32\drivers\com0com.sys`,
		`System32\drivers\com0com.sys`:              `C:\Windows\System32\drivers\com0com.sys`,
		`\??\C:\drivers\com0com.sys`:                `C:\drivers\com0com.sys`,
		`C:\windows\system32\drivers\c0sim.sys`:     `C:\windows\system32\drivers\c0sim.sys`,
	} {
		if got := imageFile(image, `C:\Windows`); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

// The registry parameters that setupc writes for an end, formatted as setupc list prints them.
func TestEndWords(t *testing.T) {
	for _, tt := range []struct {
		texts   map[string]string
		numbers map[string]uint32
		want    string
	}{
		{map[string]string{"PortName": "COM9"}, map[string]uint32{"dcd": 4, "ri": 0x80000008}, "PortName=COM9,dcd=rout1,ri=!rout2"},
		{map[string]string{"PortName": "CNCB0"}, map[string]uint32{"dcd": 0x80, "HiddenMode": 0xFFFFFFFF}, "PortName=CNCB0,dcd=ropen,HiddenMode=yes"},
		{map[string]string{"PortName": "COM#", "RealPortName": "COM3", "Other": "x"}, map[string]uint32{"EmuBR": 1, "EmuOverrun": 0, "HiddenMode": 5, "AddRTTO": 100},
			"PortName=COM#,AddRTTO=100,EmuBR=yes,HiddenMode=5,RealPortName=COM3"},
		{nil, nil, "PortName=-"},
	} {
		if got := endWords(tt.texts, tt.numbers); got != tt.want {
			t.Errorf("%v, %v: got %s, want %s", tt.texts, tt.numbers, got, tt.want)
		}
	}
}
