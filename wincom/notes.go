package wincom

import (
	"errors"
	"fmt"
	"strings"

	"telnetcpc/bridge/uart"
)

// What doctor reports about a Windows machine. facts_windows.go reads the facts; this file judges them, on every system, so
// that it can be tested. What holds for any kernel driver is apart from what is com0com's.

// Notes returns what a user of this host should know about this machine, a line each, with the way out. The host works all
// the same.
func (h Host) Notes() []string {
	if s, ok := h.system.(interface{ Notes() []string }); ok {
		return s.Notes()
	}
	return nil
}

// facts are what doctor reads from a machine.
type facts struct {
	kernel   kernel
	driver   driver
	setupc   bool // com0com's setupc.exe was found
	elevated bool // this process may inspect all others
	pairs    []pairFacts
	pairsErr error // why the pairs cannot be read
}

// notes formats the facts for Host.Notes.
func (f facts) notes() []string {
	notes := f.kernel.driverNotes(f.driver)
	if !f.setupc {
		notes = append(notes, "setupc.exe was not found: pair add and pair remove need it (install com0com with its own installer)")
	}
	switch {
	case f.pairsErr != nil:
		notes = append(notes, "cannot read the pairs: "+f.pairsErr.Error())
	case len(f.pairs) == 0:
		notes = append(notes, "there is no pair yet (telnetcpc pair add COM9)")
	}
	for _, p := range f.pairs {
		notes = append(notes, p.notes()...)
	}
	if len(f.pairs) > 0 && !f.elevated {
		notes = append(notes, "it is unknown whether services or other users' programs have a port open "+
			"(run doctor in a command prompt opened by \"Run as administrator\")")
	}
	return notes
}

// kernel is this Windows' policy for drivers.
type kernel struct {
	build       uint32 // of Windows
	secureBoot  bool   // the firmware starts only signed code
	testSigning bool   // Windows loads drivers that anyone signed: bcdedit /set testsigning on
}

// distrustBuild is the first build of Windows that stops trusting cross-signed drivers: 11 24H2, Server 2025.
const distrustBuild = 26100

// driver is one kernel driver.
type driver struct {
	name     string // of its service
	from     string // where to get it, with what to watch out for
	service  serviceState
	version  string    // of its file; empty if unknown
	signer   string    // who signed its file; empty if unknown or unsigned
	problems []problem // of its devices
}

// serviceState is the state of a driver's service.
type serviceState string

const (
	serviceMissing serviceState = "missing"
	serviceStopped serviceState = "stopped" // also while it has no device
	serviceRunning serviceState = "running"
)

// problem is a device that Windows does not start, with Device Manager's code for it.
type problem struct {
	device string // ROOT\COM0COM\0000
	code   uint32
}

// Device Manager's codes with a remedy of their own; CM_PROB_... in cfg.h.
const (
	codeRestart  = 14
	codeDisabled = 22
	codeNoDriver = 28
	codeLoad     = 39
	codeBlocked  = 48
	codeUnsigned = 52
)

// microsoftSigned reports whether Microsoft's portal signed the driver: it loads everywhere then.
func (d driver) microsoftSigned() bool { return strings.HasPrefix(d.signer, "Microsoft ") }

// driverError returns why the driver does not work here, with the way out; nil if it does.
func (k kernel) driverError(d driver) error {
	for _, p := range d.problems {
		if p.code == codeUnsigned {
			return errors.New(k.signatureText(d))
		}
	}
	for _, p := range d.problems {
		return fmt.Errorf("the device %s is not started by Windows: Code %d (%s)", p.device, p.code, codeRemedy(p.code))
	}
	if d.service == serviceMissing {
		return fmt.Errorf("not installed (%s)", d.from)
	}
	return nil
}

// signatureText explains Code 52.
func (k kernel) signatureText(d driver) string {
	text := "Windows refuses the driver" + spaced(d.version) + ", Code 52: it does not accept the signature"
	if d.signer != "" {
		text += " of " + d.signer
	}
	switch {
	case k.secureBoot:
		return text + ", and Secure Boot is on (install a build that Microsoft signed, or whose certificate is from before " +
			"29 July 2015; or, only for a test, switch Secure Boot off in the firmware and run: bcdedit /set testsigning on)"
	case k.testSigning:
		return text + ", although test signing is on (the driver's file is not signed at all, or damaged: reinstall it)"
	}
	return text + " (install a build that Microsoft signed; or, only for a test, run in an administrator's command prompt: " +
		"bcdedit /set testsigning on, then restart)"
}

// codeRemedy is the way out for one of Device Manager's codes.
func codeRemedy(code uint32) string {
	switch code {
	case codeRestart:
		return "restart Windows"
	case codeDisabled:
		return "it is disabled: enable it in Device Manager"
	case codeNoDriver:
		return "its driver is not installed: reinstall it"
	case codeLoad:
		return "its driver is missing or damaged: reinstall it"
	case codeBlocked:
		return "Windows blocks this driver because it is known to be harmful or incompatible: install another version"
	}
	return "the device's properties in Device Manager have details"
}

// spaced returns s with a space before it, if it is not empty.
func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// driverNotes returns what else a user should know about the driver, a line each, with the way out.
func (k kernel) driverNotes(d driver) []string {
	if d.service == serviceMissing {
		return nil
	}
	about := "driver" + spaced(d.version) + ", " + string(d.service)
	if d.signer != "" {
		about += ", signed by " + d.signer
	} else {
		about += ", no signer in its file (its catalog may have one)"
	}
	notes := []string{about}
	if k.testSigning {
		return append(notes, "test signing is on: Windows loads drivers that anyone signed (once it is no longer needed: bcdedit /set testsigning off)")
	}
	if d.microsoftSigned() {
		return notes
	}
	whether := "Microsoft did not sign the driver: "
	if d.signer == "" {
		whether = "if Microsoft did not sign the driver: "
	}
	if k.build >= distrustBuild {
		notes = append(notes, whether+"since April 2026 this version of Windows stops trusting such drivers after an evaluation of 100 hours "+
			"and 3 restarts (if it no longer loads: install a build that Microsoft signed, allow it in an App Control policy, or use test signing)")
	}
	if k.secureBoot {
		notes = append(notes, "Secure Boot is on: a driver that Microsoft did not sign loads only if its certificate is from before 29 July 2015 "+
			"(if it no longer loads, it has Code 52, and doctor reports the way out)")
	}
	return notes
}

// pairFacts are what doctor reads about one pair.
type pairFacts struct {
	pair Pair
	// The usual ways in which programs list serial ports, and whether they show end A.
	inDeviceMap  bool // HARDWARE\DEVICEMAP\SERIALCOMM
	inPortsClass bool // the class Ports: "Ports (COM & LPT)" in Device Manager
	asInterface  bool // the device interface class of serial ports
	// Programs that have the ends open, as "putty.exe, pid 12"; empty if none, or none that this user may inspect.
	holderA, holderB string
}

// notes returns what a user should know about a pair, a line each, with the way out.
func (f pairFacts) notes() []string {
	a, b := f.pair.A, f.pair.B
	ends := a.Name + " <-> " + b.Name
	if f.pair.Absent {
		return []string{ends + ": configured, but its ports do not exist (restart Windows; or, if it is not needed: telnetcpc pair remove " + a.Name + ")"}
	}
	var notes []string
	if f.holderA != "" {
		notes = append(notes, ends+": "+a.Name+" is open in "+f.holderA+" (a second program cannot open it)")
	}
	if f.holderB != "" {
		notes = append(notes, ends+": "+b.Name+" is held by "+f.holderB+" (another agent cannot serve "+a.Name+" until that program ends)")
	}
	if lost := pinsText(f.pair); lost != "" {
		notes = append(notes, ends+": its pins "+lost+" (in com0com's folder: setupc change "+a.ID+" "+strings.Join(ourParametersA, ",")+
			", and setupc change "+b.ID+" "+strings.Join(ourParametersB, ",")+")")
	}
	return append(notes, ends+": "+f.listing())
}

// listing describes which ways of listing ports show the application's end.
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
	wayOut := "in programs that list only those, type the name"
	if !f.inPortsClass && f.inDeviceMap {
		wayOut += "; or, in com0com's folder: setupc change " + a.ID + " PortName=COM#, then setupc change " + a.ID + " RealPortName=" + a.Name
	}
	return a.Name + " is in " + strings.Join(shown, " and ") + ", not in " + strings.Join(hidden, " and ") + " (" + wayOut + ")"
}

// pinsText describes what the pins of a pair do not carry; empty if they carry everything.
func pinsText(p Pair) string {
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
	if !agent.readingOf(PinROPEN).known() {
		lost = append(lost, "do not show when it opens the port")
	}
	for _, line := range []struct {
		pin  Pin
		name string
	}{{PinRDTR, "DTR"}, {PinRRTS, "RTS"}} {
		if !agent.readingOf(line.pin).known() {
			lost = append(lost, "do not show its "+line.name)
		}
	}
	return strings.Join(lost, ", ")
}

// imageFile returns the file of a driver from its service's ImagePath; dir is Windows' directory. ImagePath may be an NT
// path, or relative to Windows' directory with or without its name.
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
