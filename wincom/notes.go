package wincom

import (
	"errors"
	"fmt"
	"strings"

	"telnetcpc/bridge/uart"
)

// What doctor says of a Windows machine: facts_windows.go collects, here it is judged, on every system alike. What is
// true of any kernel driver stands apart from what is com0com's, so that a second driver can be judged too.

// Notes is what a user of this host should know of this machine, a line each, with the way out. Nothing of it keeps the
// host from working.
func (h Host) Notes() []string {
	if s, ok := h.system.(interface{ Notes() []string }); ok {
		return s.Notes()
	}
	return nil
}

// facts are all that doctor wants to know of a machine.
type facts struct {
	kernel   kernel
	driver   driver
	setupc   bool // com0com's setupc.exe is there
	elevated bool // this process may look into all others
	pairs    []pairFacts
	pairsErr error // why they are not known
}

func (f facts) notes() []string {
	notes := f.kernel.notes(f.driver)
	if !f.setupc {
		notes = append(notes, "setupc.exe is not found: pair add and pair remove cannot work (install com0com with its own installer)")
	}
	switch {
	case f.pairsErr != nil:
		notes = append(notes, "the pairs are not known: "+f.pairsErr.Error())
	case len(f.pairs) == 0:
		notes = append(notes, "there is no pair yet (telnetcpc pair add COM9)")
	}
	for _, p := range f.pairs {
		notes = append(notes, p.notes()...)
	}
	if len(f.pairs) > 0 && !f.elevated {
		notes = append(notes, "whether services and other users' programs have a port open is not known "+
			"(in a command prompt opened by \"Run as administrator\" it is)")
	}
	return notes
}

// kernel is what this Windows does about drivers.
type kernel struct {
	build       uint32 // of Windows
	secureBoot  bool   // the firmware lets only what is signed run
	testSigning bool   // Windows loads what anybody has signed: bcdedit /set testsigning on
}

// withdraws is the first build of Windows that withdraws its trust from cross-signed drivers: 11 24H2, Server 2025.
const withdraws = 26100

// driver is one kernel driver.
type driver struct {
	name     string // of its service
	from     string // where it is to be had, and what to look out for
	service  serviceState
	version  string    // of its file; empty: not known
	signer   string    // who signed its file; empty: not known, or nobody
	problems []problem // of its devices
}

// serviceState is how a driver's service stands.
type serviceState string

const (
	serviceMissing serviceState = "missing"
	serviceStopped serviceState = "stopped" // so it is too while there is no device of it
	serviceRunning serviceState = "running"
)

// problem is a device that Windows does not start, with Device Manager's code for it.
type problem struct {
	device string // ROOT\COM0COM\0000
	code   uint32
}

// Device Manager's codes that have a way out of their own; CM_PROB_... in cfg.h.
const (
	codeRestart  = 14
	codeDisabled = 22
	codeNoDriver = 28
	codeLoad     = 39
	codeBlocked  = 48
	codeUnsigned = 52
)

// microsoftSigned reports whether Microsoft's portal signed the driver: such a one loads everywhere.
func (d driver) microsoftSigned() bool { return strings.HasPrefix(d.signer, "Microsoft ") }

// broken is why ports cannot be made with the driver here, with the way out; nil: they can.
func (k kernel) broken(d driver) error {
	for _, p := range d.problems {
		if p.code == codeUnsigned {
			return errors.New(k.unsigned(d))
		}
	}
	for _, p := range d.problems {
		return fmt.Errorf("the device %s is not started by Windows: Code %d (%s)", p.device, p.code, codeWayOut(p.code))
	}
	if d.service == serviceMissing {
		return fmt.Errorf("not installed (%s)", d.from)
	}
	return nil
}

// unsigned explains Code 52.
func (k kernel) unsigned(d driver) string {
	text := "Windows refuses the driver" + spaced(d.version) + ", Code 52: it does not accept the signature"
	if d.signer != "" {
		text += " of " + d.signer
	}
	switch {
	case k.secureBoot:
		return text + ", and Secure Boot is on (install a build that Microsoft signed, or whose certificate is from before " +
			"29 July 2015; or, to try it only, switch Secure Boot off in the firmware and say: bcdedit /set testsigning on)"
	case k.testSigning:
		return text + ", though test signing is on (the driver's file is not signed at all, or is damaged: install it anew)"
	}
	return text + " (install a build that Microsoft signed; or, to try it only, say in an administrator's command prompt: " +
		"bcdedit /set testsigning on, and restart)"
}

func codeWayOut(code uint32) string {
	switch code {
	case codeRestart:
		return "restart Windows"
	case codeDisabled:
		return "it is disabled: enable it in Device Manager"
	case codeNoDriver:
		return "its driver is not installed: install it anew"
	case codeLoad:
		return "its driver is missing or damaged: install it anew"
	case codeBlocked:
		return "Windows blocks this driver as one that it knows to be harmful or incompatible: install another version"
	}
	return "Device Manager says more of the device"
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// notes are what else a user should know of the driver here, a line each, with the way out.
func (k kernel) notes(d driver) []string {
	if d.service == serviceMissing {
		return nil
	}
	about := "driver" + spaced(d.version) + ", " + string(d.service)
	if d.signer != "" {
		about += ", signed by " + d.signer
	} else {
		about += ", its file does not say who signed it (its catalog may)"
	}
	notes := []string{about}
	if k.testSigning {
		return append(notes, "test signing is on: Windows loads drivers that anybody has signed (when it is needed no more: bcdedit /set testsigning off)")
	}
	if d.microsoftSigned() {
		return notes
	}
	whether := "Microsoft has not signed the driver: "
	if d.signer == "" {
		whether = "if Microsoft has not signed the driver: "
	}
	if k.build >= withdraws {
		notes = append(notes, whether+"since April 2026 this version of Windows takes its trust from such "+
			"drivers, after 100 hours and 3 restarts of watching (if it stops to load: a build that Microsoft signed, an App Control policy that allows it, or test signing)")
	}
	if k.secureBoot {
		notes = append(notes, "Secure Boot is on: a driver that Microsoft has not signed loads only where its certificate is from before 29 July 2015 "+
			"(if it stops to load: Code 52, and what doctor says of it then)")
	}
	return notes
}

// pairFacts are what is known of a pair and of who sees it.
type pairFacts struct {
	pair Pair
	// The usual ways in which programs list serial ports, and whether they show end A.
	inDeviceMap  bool // HARDWARE\DEVICEMAP\SERIALCOMM
	inPortsClass bool // the class Ports: "Ports (COM & LPT)" in Device Manager
	asInterface  bool // the device interface class of serial ports
	// Programs that have the ends open, as "putty.exe, pid 12"; empty: none that this user may see.
	holderA, holderB string
}

// notes are what a user should know of a pair, a line each, with the way out.
func (f pairFacts) notes() []string {
	a, b := f.pair.A, f.pair.B
	who := a.Name + " <-> " + b.Name
	if f.pair.Absent {
		return []string{who + ": it is configured, but no port of it is there (restart Windows; if it is not wanted: telnetcpc pair remove " + a.Name + ")"}
	}
	var notes []string
	if f.holderA != "" {
		notes = append(notes, who+": "+a.Name+" is open in "+f.holderA+" (a second program cannot open it)")
	}
	if f.holderB != "" {
		notes = append(notes, who+": "+b.Name+" is held by "+f.holderB+" (another agent cannot serve "+a.Name+" until that ends)")
	}
	if lost := pinsLose(f.pair); lost != "" {
		notes = append(notes, who+": its pins "+lost+" (in com0com's folder: setupc change "+a.ID+" "+strings.Join(ourParametersA, ",")+
			", and setupc change "+b.ID+" "+strings.Join(ourParametersB, ",")+")")
	}
	return append(notes, who+": "+f.listing())
}

// listing says which ways of listing ports show the application's end.
func (f pairFacts) listing() string {
	ways := []struct {
		name  string
		shown bool
	}{{"the device map SERIALCOMM", f.inDeviceMap}, {"the device interface of serial ports", f.asInterface}, {"Device Manager's class Ports", f.inPortsClass}}
	var shown, hidden []string
	for _, w := range ways {
		if w.shown {
			shown = append(shown, w.name)
		} else {
			hidden = append(hidden, w.name)
		}
	}
	a := f.pair.A
	switch {
	case len(hidden) == 0:
		return a.Name + " is in every list of ports"
	case len(shown) == 0:
		return a.Name + " is in no list of ports (type its name into the program)"
	}
	wayOut := "programs that look only there: type the name in"
	if !f.inPortsClass && f.inDeviceMap {
		wayOut += ", or, in com0com's folder: setupc change " + a.ID + " PortName=COM#, then setupc change " + a.ID + " RealPortName=" + a.Name
	}
	return a.Name + " is in " + strings.Join(shown, " and ") + ", not in " + strings.Join(hidden, " and ") + " (" + wayOut + ")"
}

// pinsLose says what the pins of a pair cannot carry; empty: all is carried.
func pinsLose(p Pair) string {
	application, err := PinsOf(p.A.Parameters)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	agent, err := PinsOf(p.B.Parameters)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	var lost []string
	if missing := (uart.CTS | uart.DSR | uart.DCD | uart.RI) &^ application.shown(); missing != 0 {
		lost = append(lost, "do not show "+strings.ReplaceAll(missing.String(), "|", ", ")+" to the application")
	}
	if !agent.reads(PinROPEN).known() {
		lost = append(lost, "do not tell when it opens the port")
	}
	for _, line := range []struct {
		pin  Pin
		name string
	}{{PinRDTR, "DTR"}, {PinRRTS, "RTS"}} {
		if !agent.reads(line.pin).known() {
			lost = append(lost, "do not tell its "+line.name)
		}
	}
	return strings.Join(lost, ", ")
}

// imageFile is the file of a driver whose service's ImagePath is image, on a Windows in dir. The path may begin at the
// root of all objects, or in Windows' directory, with its name or without.
func imageFile(image, dir string) string {
	lower := strings.ToLower(image)
	for _, prefix := range []string{`\systemroot\`, `%systemroot%\`} {
		if strings.HasPrefix(lower, prefix) {
			return dir + `\` + image[len(prefix):]
		}
	}
	if strings.HasPrefix(lower, `system32\`) {
		return dir + `\` + image
	}
	return strings.TrimPrefix(image, `\??\`)
}
