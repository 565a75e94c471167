# Runs every check: linters, types, import contracts and the whole test suite, setting up first where needed.
# Arguments go to pytest: packaging\test.ps1 tests\media -k crop
#
# Checked: that it parses as PowerShell. Not checked yet: a run on Windows.
. (Join-Path $PSScriptRoot 'common.ps1')

$pytestArguments = @($args)
Update-Environment 'test'
$failed = [System.Collections.Generic.List[string]]::new()

function Invoke-Check([string] $Name, [string] $Program, [string[]] $Arguments) {
    Write-Step $Name
    & (Join-Path $Bin $Program) @Arguments | Out-Host
    if ($LASTEXITCODE -ne 0) { $failed.Add($Name) }
}

Push-Location $Root
try {
    Invoke-Check 'ruff check' 'ruff.exe' @('check', '--quiet', '.')
    Invoke-Check 'ruff format' 'ruff.exe' @('format', '--check', '--quiet', '.')
    Invoke-Check 'mypy' 'mypy.exe' @()
    Invoke-Check 'import contracts' 'lint-imports.exe' @('--no-cache')
    if ($failed.Count -gt 0) { Write-Step ('failed so far: ' + ($failed -join ', ')) }
    Invoke-Check 'pytest' 'python.exe' (@('-m', 'pytest', '-q', '-n', '2', '--dist', 'loadfile', '--no-loadscope-reorder', '--reruns', '1') + $pytestArguments)
}
finally {
    Pop-Location
}
exit [int]($failed.Count -gt 0)
