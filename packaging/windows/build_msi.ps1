# Makes the Windows Installer package of the bundle: packaging\windows\build_msi.ps1 -Target FOLDER. FOLDER is what
# packaging/bundle/build.sh was given. Needs WiX 5 (dotnet tool install --global wix --version 5.0.2). Signs program and package
# where SIGN_THUMBPRINT names a certificate of the machine's store.
param([Parameter(Mandatory)][string]$Target)
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true
$target = (Resolve-Path $Target).Path
$bundle = Join-Path $target 'apitorch-desktop'
$program = Join-Path $bundle 'apitorch-desktop.exe'
if (-not (Test-Path $program)) { throw "There is no bundle in $target. Build it first: sh packaging/bundle/build.sh $Target" }
$version = (& $program --version).Split(' ')[1]
# Windows Installer compares three numbers
if ($version -notmatch '^(\d+)\.(\d+)\.(\d+)') { throw "“$version” is no version for Windows Installer." }
$numbers = $Matches[0]

function Sign([string]$file) {
    if (-not $env:SIGN_THUMBPRINT) { return }
    & signtool sign /sha1 $env:SIGN_THUMBPRINT /fd SHA256 /tr http://timestamp.digicert.com /td SHA256 $file
}

$icon = Join-Path $target 'program.ico'
$python = Join-Path $target 'env\Scripts\python.exe'
& $python -c "import sys; from PIL import Image; Image.open(sys.argv[1]).save(sys.argv[2], sizes=[(s, s) for s in (16, 24, 32, 48, 64, 256)])" (Join-Path $target 'work\apitorch-desktop\icon.png') $icon
Sign $program
$package = Join-Path $target "apitorch-desktop-$version-x64.msi"
& wix build (Join-Path $PSScriptRoot 'apitorch-desktop.wxs') -arch x64 -d "Bundle=$bundle" -d "Icon=$icon" -d "Version=$numbers" -o $package
Sign $package
Write-Output "$package has $([math]::Round((Get-Item $package).Length / 1e6)) MB."
