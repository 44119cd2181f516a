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

// Where com0com keeps the parameters of its ports.
const parametersKey = `SYSTEM\CurrentControlSet\Services\com0com\Parameters`

// setupcPatience bounds one run of setupc: the devices of a new pair are installed while it waits.
const setupcPatience = 2 * time.Minute

// FindSetupc returns a Setupc that runs the setupc.exe of this machine; ErrNotInstalled where there is none.
func FindSetupc() (Setupc, error) {
	for _, dir := range setupcPlaces() {
		name := filepath.Join(dir, "setupc.exe")
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			return Setupc{Run: func(ctx context.Context, arguments ...string) (string, error) {
				return runSetupc(ctx, name, arguments)
			}}, nil
		}
	}
	return Setupc{}, ErrNotInstalled
}

// setupcPlaces are the directories where setupc.exe may be: the installer's own word in the registry, then the usual
// ones. The installer is a 32-bit program, so its words may lie in the view for such.
func setupcPlaces() []string {
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
	// Not from the environment: its variables are the user's, and setupc.exe gets an administrator's rights.
	for _, folder := range []*windows.KNOWNFOLDERID{windows.FOLDERID_ProgramFiles, windows.FOLDERID_ProgramFilesX86, windows.FOLDERID_ProgramFilesX64} {
		if dir, err := windows.KnownFolderPath(folder, 0); err == nil {
			dirs = append(dirs, filepath.Join(dir, "com0com"))
		}
	}
	// A relative path would be looked for where this process happens to stand.
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// registryString reads a string below HKEY_LOCAL_MACHINE; empty where it is not.
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

// runSetupc runs setupc in its own directory, where it looks for its .inf files. Silent: else it would ask in a window.
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

// Elevated reports whether this process has an administrator's rights, which setupc and the service manager want.
func Elevated() bool { return windows.GetCurrentProcessToken().IsElevated() }

// Pairs reads the pairs from com0com's parameters in the registry, which everybody may. Where there are none the list
// is empty.
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

// classNames is the PortName of an end whose name the Ports class chooses.
const classNames = "COM#"

// realName is the name of an end that programs open. Where the Ports class has chosen it, and the parameters do not say
// which, the driver has told the device map.
func realName(e End) string {
	if e.Name != classNames {
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

// readParameters reads what the registry says of one end: the strings and the numbers.
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

// deviceOf returns the NT device that a port's name leads to where it is one of com0com's, else nothing.
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

// PortExists reports whether programs find a port of that name, or com0com has one that is hidden now.
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
