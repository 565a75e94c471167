# Shared by run.ps1 and test.ps1: finds Python, keeps .venv up to date.
# Checked: that it parses as PowerShell. Not checked yet: a run on Windows.
$ErrorActionPreference = 'Stop'

$Root = Split-Path -Parent $PSScriptRoot
$Venv = Join-Path $Root '.venv'
$Bin = Join-Path $Venv 'Scripts'
$VenvPython = Join-Path $Bin 'python.exe'
$Stamp = Join-Path $Venv 'mmviewer.stamp'

# Steps go to the host, not to the output, so that the output of a headless command stays clean.
function Write-Step([string] $Text) { Write-Host "- $Text" }

function Stop-Setup([string] $Text) {
    [Console]::Error.WriteLine("mmviewer: $Text")
    exit 1
}

function Test-Python([string[]] $Command) {
    if (-not (Get-Command $Command[0] -ErrorAction SilentlyContinue)) { return $false }
    $arguments = @($Command | Select-Object -Skip 1)
    & $Command[0] @arguments -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>$null
    return $LASTEXITCODE -eq 0
}

# The first Python that is new enough. MMVIEWER_PYTHON names another one.
function Find-Python {
    $candidates = @(@('py', '-3.13'), @('py', '-3.12'), @('py', '-3.11'), @('python3'), @('python'))
    if ($env:MMVIEWER_PYTHON) { $candidates = @(, @($env:MMVIEWER_PYTHON)) + $candidates }
    foreach ($candidate in $candidates) {
        if (Test-Python $candidate) { return , $candidate }
    }
    Stop-Setup 'Python 3.11 or newer is needed and was not found. Install it (winget install Python.Python.3.13) or name it in MMVIEWER_PYTHON.'
}

# What the environment was made from; another text means: install again.
function Get-Fingerprint([string] $Extra) {
    $project = (Get-FileHash (Join-Path $Root 'pyproject.toml') -Algorithm SHA256).Hash
    $version = & $VenvPython -c 'import sys; print(sys.version.split()[0])'
    return "$project $version $Extra $Root"
}

function Test-Current([string] $Extra) {
    if (-not (Test-Path $VenvPython) -or -not (Test-Path $Stamp)) { return $false }
    return (Get-Content $Stamp -Raw).Trim() -eq (Get-Fingerprint $Extra)
}

function New-Environment {
    $python = Find-Python
    $arguments = @($python | Select-Object -Skip 1)
    Write-Step 'making .venv'
    & $python[0] @arguments -m venv --clear $Venv
    if ($LASTEXITCODE -ne 0) { Stop-Setup "the environment $Venv could not be made (see above)." }
}

# Installs the project into .venv unless nothing changed since. The extra is 'run' or 'test'; an environment
# made for tests serves for running as well.
function Update-Environment([string] $Extra) {
    if ((Test-Current $Extra) -or ($Extra -eq 'run' -and (Test-Current 'test'))) { return }
    $known = (Test-Path $Stamp) -and (Get-Content $Stamp -Raw).Contains(" $Root")
    if (-not $known -or -not (Test-Path $VenvPython)) { New-Environment }
    Set-Content $Stamp "unfinished $Root"
    $target = if ($Extra -eq 'run') { $Root } else { "$Root[$Extra]" }
    Write-Step 'installing mmviewer and its libraries into .venv (the first time takes minutes)'
    & $VenvPython -m pip install -e $target | Out-Host
    if ($LASTEXITCODE -ne 0) {
        Stop-Setup 'the installation did not finish (see above). Check the network and the free disk space, then start again.'
    }
    Set-Content $Stamp (Get-Fingerprint $Extra)
}
