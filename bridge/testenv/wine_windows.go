package testenv

import "golang.org/x/sys/windows"

// Wine says that this is Wine and no Windows.
var Wine = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
