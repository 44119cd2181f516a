package listening_test

import "golang.org/x/sys/windows"

// wine is whether this Windows is Wine, which has a function that says its version.
var wine = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
