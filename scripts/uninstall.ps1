# Removes what install.ps1 installed: the services telnetcpc-COM..., the program, its entry in the path. The logs in
# %ProgramData%\telnetcpc stay, and so do com0com and its pairs: others may use them. -Pairs also removes the pairs that
# telnetcpc made, and no others.
#Requires -RunAsAdministrator
param([switch]$Pairs)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$folder = Join-Path $env:ProgramFiles 'telnetcpc'
$installed = Join-Path $folder 'telnetcpc.exe'
if (-not (Test-Path -LiteralPath $installed -PathType Leaf)) {
    throw "there is no $installed, so install.ps1 installed nothing"
}

foreach ($service in @(Get-Service -Name 'telnetcpc-COM*')) {
    & $installed service uninstall $service.Name.Substring('telnetcpc-'.Length)
    if ($LASTEXITCODE -ne 0) { throw "$($service.Name) still exists: see above" }
}
if ($Pairs) {
    # One line per pair: COM9 (CNCA0: dcd=rout1, ri=!rout2) <-> CNCB0 (...); other pairs are marked "not made by telnetcpc".
    foreach ($line in @(& $installed pair list)) {
        if ($line -match '^(COM\d+) .*<->' -and $line -notmatch 'not made by telnetcpc') {
            & $installed pair remove $Matches[1]
            if ($LASTEXITCODE -ne 0) { throw "the pair of $($Matches[1]) still exists: see above" }
        }
    }
}

Remove-Item -LiteralPath $installed
if (@(Get-ChildItem -LiteralPath $folder -Force).Count -eq 0) { Remove-Item -LiteralPath $folder }

$key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
$path = [string]$key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
$left = @($path -split ';' | Where-Object { $_ -ne $folder })
if (($left -join ';') -ne $path) {
    $key.SetValue('Path', ($left -join ';'), [Microsoft.Win32.RegistryValueKind]::ExpandString)
}
$key.Close()
Write-Output 'telnetcpc is uninstalled'
