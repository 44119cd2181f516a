# Installs telnetcpc on Windows: the telnetcpc.exe next to this script goes to %ProgramFiles%\telnetcpc, where only
# administrators may write, and on the path. With -Port and -Url it also makes a service, which provides COM9 from the
# start of Windows on. In a PowerShell opened by "Run as administrator":
#
#   powershell -ExecutionPolicy Bypass -File .\install.ps1
#   powershell -ExecutionPolicy Bypass -File .\install.ps1 -Port COM9 -Url 10.0.0.5:4001
#
# uninstall.ps1 removes it again. This does not install com0com; if that is missing, the output has where to get it.
#Requires -RunAsAdministrator
param(
    [string]$Program = (Join-Path $PSScriptRoot 'telnetcpc.exe'),
    [string]$Port,
    [string]$Url
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

if (-not (Test-Path -LiteralPath $Program -PathType Leaf)) {
    throw "there is no $Program (build it: go build ./cmd/telnetcpc; or give its path: -Program PATH)"
}
if ([bool]$Port -ne [bool]$Url) {
    throw 'a service needs both -Port and -Url, as in -Port COM9 -Url 10.0.0.5:4001'
}

$folder = Join-Path $env:ProgramFiles 'telnetcpc'
$installed = Join-Path $folder 'telnetcpc.exe'
New-Item -ItemType Directory -Path $folder -Force | Out-Null

# A running service has its program open: running services are stopped, and started again with the new program.
$running = @(Get-Service -Name 'telnetcpc-COM*' | Where-Object { $_.Status -eq 'Running' })
foreach ($service in $running) { Stop-Service -InputObject $service }
try {
    Copy-Item -LiteralPath $Program -Destination $installed -Force
} finally {
    foreach ($service in $running) { Start-Service -InputObject $service }
}

# The machine's path as stored, with its %variables%. Get-ItemProperty would expand them, and their values would be stored.
$key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
$path = [string]$key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
if (($path -split ';') -notcontains $folder) {
    $key.SetValue('Path', ($path.TrimEnd(';') + ';' + $folder), [Microsoft.Win32.RegistryValueKind]::ExpandString)
    Write-Output "$folder is on the path of programs that start after the next logon"
}
$key.Close()
Write-Output "installed: $installed"

# What works here and what is missing; if com0com is, the output has where to get it.
& $installed doctor
if ($LASTEXITCODE -ne 0) {
    Write-Output 'no port can be made yet: see above. Install com0com, then run this script again.'
    exit 1
}
if ($Port) {
    & $installed service install $Port $Url
    exit $LASTEXITCODE
}
