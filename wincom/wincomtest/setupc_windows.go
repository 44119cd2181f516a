package wincomtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"

	"telnetcpc/wincom"
)

// The stand-in for com0com's setupc.exe is a copy of the test binary under that name. It keeps pairs in the registry where
// com0com does, prints what setupc prints, and requires what setupc requires: --silent, one command after the options, its
// own directory as the current one. It makes no device.

const (
	setupcName = "setupc.exe"
	setupcInf  = "com0com.inf" // setupc opens it without a path
)

// TakenName is the one name that the stand-in reports as taken.
const TakenName = "COM78"

const parametersKey = `SYSTEM\CurrentControlSet\Services\com0com\Parameters`

// RunSetupc acts as setupc.exe and exits if this process has that name. Call it in a test's init.
func RunSetupc() {
	if !strings.EqualFold(filepath.Base(os.Args[0]), setupcName) {
		return
	}
	if err := setupc(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func setupc(words []string) error {
	if len(words) < 2 || words[0] != "--silent" {
		return errors.New("setupc would open a dialog now")
	}
	if _, err := os.Stat(setupcInf); err != nil {
		return fmt.Errorf("%s is not in the current directory", setupcInf)
	}
	if words = words[1:]; words[0] == "--wait" {
		words = words[2:]
	}
	switch {
	case words[0] == "list" && len(words) == 1:
		return listPairs()
	case words[0] == "busynames" && len(words) == 2:
		if words[1] == TakenName {
			fmt.Println(TakenName)
		}
		return nil
	case words[0] == "install" && len(words) == 4:
		return errors.Join(writeEnd("CNCA"+words[1], words[2]), writeEnd("CNCB"+words[1], words[3]))
	case words[0] == "remove" && len(words) == 2:
		return errors.Join(removeEnd("CNCA"+words[1]), removeEnd("CNCB"+words[1]))
	}
	return fmt.Errorf("invalid command %q", words)
}

func listPairs() error {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, parametersKey, registry.READ)
	if err != nil {
		return err
	}
	defer k.Close()
	ids, err := k.ReadSubKeyNames(-1)
	for _, id := range ids {
		words, readErr := readEnd(id)
		err = errors.Join(err, readErr)
		fmt.Printf("       %s %s\r\n", id, words)
	}
	return err
}

func readEnd(id string) (words string, err error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, parametersKey+`\`+id, registry.QUERY_VALUE)
	if err != nil {
		return "", err
	}
	defer k.Close()
	keys, err := k.ReadValueNames(-1)
	if err != nil {
		return "", err
	}
	name, _, err := k.GetStringValue("PortName")
	words = "PortName=" + name
	for _, key := range keys {
		switch n, _, err := k.GetIntegerValue(key); {
		case err != nil: // PortName
		case n == 0xFFFFFFFF:
			words += "," + key + "=yes"
		default:
			words += "," + key + "=" + wincom.Pin(n).String()
		}
	}
	return words, err
}

func writeEnd(id, parameters string) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, parametersKey+`\`+id, registry.ALL_ACCESS)
	if err != nil {
		return err
	}
	defer k.Close()
	for word := range strings.SplitSeq(parameters, ",") {
		key, value, _ := strings.Cut(word, "=")
		switch pin, pinErr := wincom.ParsePin(value); {
		case key == "PortName":
			err = k.SetStringValue(key, value)
		case value == "yes":
			err = k.SetDWordValue(key, 0xFFFFFFFF)
		case pinErr == nil:
			err = k.SetDWordValue(key, uint32(pin))
		default:
			err = pinErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func removeEnd(id string) error {
	return registry.DeleteKey(registry.LOCAL_MACHINE, parametersKey+`\`+id)
}

// InstallSetupc installs the stand-in until the test ends, with the registry key of com0com's installer. The test binary
// must call RunSetupc in an init. It must not be called on a machine with a real com0com.
func InstallSetupc(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "com0com of a test")
	if err != nil {
		t.Fatal(err)
	}
	// One by one because os.RemoveAll, and so t.TempDir, does not work in Wine 8.
	t.Cleanup(func() {
		for _, name := range []string{setupcName, setupcInf, ""} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{setupcName: program, setupcInf: nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, `SOFTWARE\com0com`, registry.ALL_ACCESS|registry.WOW64_32KEY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = registry.DeleteKey(k, "")
		_ = k.Close()
	})
	if err := k.SetStringValue("Install_Dir", dir); err != nil {
		t.Fatal(err)
	}
}
