package wincom

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// A copy of this test's own binary by the name of setupc.exe stands for com0com's: it keeps pairs where that keeps them,
// prints what that prints, and insists on what that insists on: one command behind its options, its own directory, .inf
// files in it. It makes no device.
func init() {
	if strings.EqualFold(filepath.Base(os.Args[0]), "setupc.exe") {
		if err := standInSetupc(os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func standInSetupc(words []string) error {
	if len(words) == 0 || words[0] != "--silent" {
		return errors.New("a window would ask a question now")
	}
	if _, err := os.Stat("com0com.inf"); err != nil {
		return errors.New("com0com.inf is not in the current directory")
	}
	words = words[1:]
	if words[0] == "--wait" {
		words = words[2:]
	}
	switch {
	case words[0] == "list" && len(words) == 1:
		return printList()
	case words[0] == "busynames" && len(words) == 2:
		if words[1] == "COM78" {
			fmt.Println("COM78")
		}
		return nil
	case words[0] == "install" && len(words) == 4:
		if err := writeEnd("CNCA"+words[1], words[2]); err != nil {
			return err
		}
		return writeEnd("CNCB"+words[1], words[3])
	case words[0] == "remove" && len(words) == 2:
		return errors.Join(registry.DeleteKey(registry.LOCAL_MACHINE, parametersKey+`\CNCA`+words[1]),
			registry.DeleteKey(registry.LOCAL_MACHINE, parametersKey+`\CNCB`+words[1]))
	}
	return fmt.Errorf("invalid command %q", words)
}

func printList() error {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, parametersKey, registry.READ)
	if err != nil {
		return err
	}
	defer k.Close()
	ids, err := k.ReadSubKeyNames(-1)
	for _, id := range ids {
		fmt.Printf("       %s %s\r\n", id, endWords(readParameters(id)))
	}
	return err
}

func writeEnd(id, parameters string) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, parametersKey+`\`+id, registry.ALL_ACCESS)
	if err != nil {
		return err
	}
	defer k.Close()
	for word := range strings.SplitSeq(parameters, ",") {
		key, value, _ := strings.Cut(word, "=")
		switch pin, err := ParsePin(value); {
		case key == "PortName":
			err = k.SetStringValue(key, value)
		case value == "yes":
			err = k.SetDWordValue(key, 0xFFFFFFFF)
		case err == nil:
			err = k.SetDWordValue(key, uint32(pin))
		default:
			return err
		}
	}
	return nil
}

// installSetupc puts the stand-in where com0com's installer says that it is.
func installSetupc(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "com0com of a test")
	if err != nil {
		t.Fatal(err)
	}
	// One by one: os.RemoveAll, and so t.TempDir, does not work in Wine 8.
	t.Cleanup(func() {
		for _, name := range []string{"setupc.exe", "com0com.inf", ""} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"setupc.exe": text, "com0com.inf": nil} {
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

// A pair is made, read from the registry and removed through a setupc.exe that is really run.
func TestSetupcIsRun(t *testing.T) {
	needStandIn(t)
	if _, err := FindSetupc(); !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("without com0com: got %v, want %v", err, ErrNotInstalled)
	}
	installSetupc(t)
	s, err := FindSetupc()
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Add(t.Context(), "COM77")
	if err != nil {
		t.Fatal(err)
	}
	number := strconv.Itoa(made.Number)
	if !made.Ours() || made.A.Name != "COM77" || made.B.Name != "CNCB"+number {
		t.Errorf("made %+v", made)
	}
	pairs, err := Pairs()
	i := slices.IndexFunc(pairs, func(p Pair) bool { return p.A.Name == "COM77" })
	if err != nil || i < 0 || !pairs[i].Ours() || !pairs[i].Absent { // the stand-in makes no device
		t.Errorf("the registry has %+v, %v", pairs, err)
	}
	if there, err := PortExists("COM77"); !there || err != nil {
		t.Errorf("COM77 exists: got %v, %v", there, err)
	}
	if _, err := s.Add(t.Context(), "COM78"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a name that is busy: got %v", err)
	}
	if _, err := s.Run(t.Context(), "dance"); err == nil || !strings.Contains(err.Error(), `exit status 1: "invalid command [\"dance\"]"`) {
		t.Errorf("a command that it does not know: got %v", err)
	}
	if _, err := s.Remove(t.Context(), "COM77"); err != nil {
		t.Error(err)
	}
	if there, err := PortExists("COM77"); there || err != nil {
		t.Errorf("COM77 exists still: got %v, %v", there, err)
	}
}
