<#
.SYNOPSIS
    Verifies on this Windows that what a program does to COM9 arrives at a far UART, and vice versa.

.DESCRIPTION
    Starts telnetcpc-verify.exe and prints pass or fail for each of its checks. The far UART is simulated in it; the pair of
    ports and telnetcpc.exe are the real ones. Make the program on any machine that has Go, in telnetcpc's sources:

        GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go test -c -o telnetcpc-verify.exe ./wincom/winetest

    It opens both ends of the pair: nothing else may have them open, no telnetcpc attach, no service. As administrator it
    also makes a service for the pair, kills it, and removes it again. Exit status: 0 all checks passed, 1 one failed,
    2 it could not start.

.EXAMPLE
    telnetcpc pair add COM9
    .\verify-windows.ps1 -Port COM9
#>
param(
    # The application's end of a pair that telnetcpc pair add has made.
    [string]$Port = 'COM9',
    # telnetcpc.exe, and the tests.
    [string]$Program = (Join-Path $PSScriptRoot 'telnetcpc.exe'),
    [string]$Tests = (Join-Path $PSScriptRoot 'telnetcpc-verify.exe')
)

foreach ($file in $Program, $Tests) {
    if (-not (Test-Path -LiteralPath $file -PathType Leaf)) {
        [Console]::Error.WriteLine("verify-windows: there is no $file (Get-Help .\verify-windows.ps1 -Detailed)")
        exit 2
    }
}

# The tests read these.
$env:TELNETCPC_PAIR = $Port
$env:TELNETCPC_PROGRAM = (Resolve-Path -LiteralPath $Program).ProviderPath

# test2json reports each check as soon as it ends, with 0x16 before the test runner's own lines.
$points = 0
& $Tests '-test.v=test2json' '-test.run=^TestCOM9$' '-test.timeout=10m' 2>&1 | ForEach-Object {
    $line = "$_".TrimStart([char]0x16)
    if ($line -match '^ *--- (PASS|FAIL|SKIP): TestCOM9/(\S+)') {
        $points++
        '{0}  {1}' -f $Matches[1].ToLower(), $Matches[2].Replace('_', ' ')
    } elseif ($line -notmatch '^ *(===|---) ' -and $line -notmatch '^(PASS|FAIL)?$') {
        "          $line" # output of a check, before its result
    }
}
$status = $LASTEXITCODE
if ($points -eq 0) {
    [Console]::Error.WriteLine("verify-windows: no check ran; $Tests ended with $status")
    exit 2
}
exit $status
