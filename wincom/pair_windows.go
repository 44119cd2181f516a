package wincom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// parametersKey is where com0com's driver reads the parameters of its ports.
const parametersKey = `SYSTEM\CurrentControlSet\Services\com0com\Parameters`

// setupcPatience bounds one run of setupc, which waits until the devices of a new pair are installed.
const setupcPatience = 2 * time.Minute

// FindSetupc returns a Setupc that runs this machine's setupc.exe, or ErrNotInstalled.
func FindSetupc() (Setupc, error) {
	for _, dir := range setupcDirs() {
		name := filepath.Join(dir, "setupc.exe")
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			return Setupc{Run: func(ctx context.Context, arguments ...string) (string, error) {
				return runSetupc(ctx, name, arguments)
			}}, nil
		}
	}
	return Setupc{}, ErrNotInstalled
}

// setupcDirs returns the directories where setupc.exe may be: those that the installer wrote into the registry, then the
// usual ones. The installer is a 32-bit program, so its keys may be in the 32-bit view.
func setupcDirs() []string {
	var dirs []string
	for _, view := range []uint32{registry.WOW64_64KEY, registry.WOW64_32KEY} {
		if dir := registryString(`SOFTWARE\com0com`, "Install_Dir", view); dir != "" {
			dirs = append(dirs, dir)
		}
		const uninstall = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\com0com`
		if name := strings.Trim(registryString(uninstall, "UninstallString", view), `"`); name != "" {
			dirs = append(dirs, filepath.Dir(name))
		}
	}
	// Not from the environment, which the user controls: setupc.exe runs with administrator rights.
	for _, folder := range []*windows.KNOWNFOLDERID{windows.FOLDERID_ProgramFiles, windows.FOLDERID_ProgramFilesX86, windows.FOLDERID_ProgramFilesX64} {
		if dir, err := windows.KnownFolderPath(folder, 0); err == nil {
			dirs = append(dirs, filepath.Join(dir, "com0com"))
		}
	}
	// A relative path would be relative to this process's current directory.
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// registryString reads a string value below HKEY_LOCAL_MACHINE; empty if there is none.
func registryString(key, name string, view uint32) string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE|view)
	if err != nil {
		return ""
	}
	defer k.Close()
	s, _, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	return s
}

// runSetupc runs setupc in its own directory, where it expects its .inf files, and with --silent, so that it opens no
// dialog.
func runSetupc(ctx context.Context, name string, arguments []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, setupcPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"--silent"}, arguments...)...)
	cmd.Dir = filepath.Dir(name)
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, windows.ERROR_ELEVATION_REQUIRED):
		return "", fs.ErrPermission
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil && len(bytes.TrimSpace(out)) > 0:
		return "", fmt.Errorf("%w: %s", err, quoteOutput(string(out)))
	case err != nil:
		return "", err
	}
	return string(out), nil
}

// Elevated reports whether this process has administrator rights, which setupc and the service manager need.
func Elevated() bool { return windows.GetCurrentProcessToken().IsElevated() }

// Pairs reads the pairs from com0com's parameters in the registry; every user may read them. It returns none if com0com is
// not installed.
func Pairs() ([]Pair, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, parametersKey, registry.READ)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", parametersKey, err)
	}
	defer k.Close()
	names, err := k.ReadSubKeyNames(-1)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", parametersKey, err)
	}
	var text strings.Builder
	for _, id := range names {
		fmt.Fprintf(&text, " %s %s\n", strings.ToUpper(id), endWords(readParameters(id)))
	}
	pairs := ParsePairs(text.String())
	for i, p := range pairs {
		for _, e := range []*End{&p.A, &p.B} {
			e.Name = realName(*e)
		}
		pairs[i] = p
		pairs[i].Absent = deviceOf(p.A.Name) == "" && deviceOf(p.B.Name) == ""
	}
	return pairs, nil
}

// classChooses is the PortName of an end whose name the Ports class chooses.
const classChooses = "COM#"

// realName returns the name of an end that programs open. If the Ports class chose it and the parameters do not have it, it
// is in the device map.
func realName(e End) string {
	if e.Name != classChooses {
		return e.Name
	}
	device, number := deviceA, strings.TrimPrefix(e.ID, "CNCA")
	if strings.HasPrefix(e.ID, "CNCB") {
		device, number = deviceB, strings.TrimPrefix(e.ID, "CNCB")
	}
	if name := registryString(deviceMapKey, device+number, 0); name != "" {
		return name
	}
	return e.Name
}

// readParameters reads the parameters of one end: its string and its integer values.
func readParameters(id string) (names map[string]string, numbers map[string]uint32) {
	names, numbers = map[string]string{}, map[string]uint32{}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, parametersKey+`\`+id, registry.QUERY_VALUE)
	if err != nil {
		return names, numbers
	}
	defer k.Close()
	values, err := k.ReadValueNames(-1)
	if err != nil {
		return names, numbers
	}
	for _, value := range values {
		if s, _, err := k.GetStringValue(value); err == nil {
			names[value] = s
		} else if n, _, err := k.GetIntegerValue(value); err == nil {
			numbers[value] = uint32(n)
		}
	}
	return names, numbers
}

// deviceOf returns the NT device of a port if it is one of com0com's; otherwise an empty string.
func deviceOf(name string) string {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return ""
	}
	var target [windows.MAX_PATH]uint16
	if _, err := windows.QueryDosDevice(p, &target[0], uint32(len(target))); err != nil {
		return ""
	}
	if device := windows.UTF16ToString(target[:]); strings.HasPrefix(strings.ToLower(device), `\device\com0com`) {
		return device
	}
	return ""
}

// PortExists reports whether a port of that name exists, or com0com has one that is hidden at the moment.
func PortExists(name string) (bool, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return false, fmt.Errorf("port %q: %w", name, err)
	}
	var target [windows.MAX_PATH]uint16
	if _, err := windows.QueryDosDevice(p, &target[0], uint32(len(target))); err == nil {
		return true, nil
	}
	pairs, err := Pairs()
	if err != nil {
		return false, err
	}
	_, found := FindPair(pairs, name)
	return found, nil
}
