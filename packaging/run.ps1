# Starts mmviewer, setting it up first where needed.
#
#   packaging\run.ps1                      the window, with the sample session
#   packaging\run.ps1 photo.jpg talk.wav   the window, with these files
#   packaging\run.ps1 caption photo.jpg    a command without a window (see: run.ps1 --help)
#
# Checked: that it parses as PowerShell. Not checked yet: a run on Windows.
. (Join-Path $PSScriptRoot 'common.ps1')

$arguments = @($args)
if ($arguments.Count -eq 0) {
    $arguments = @('gui', '--samples')
}
elseif ($arguments[0] -match '[\\/.]' -and (Test-Path -LiteralPath $arguments[0])) {
    $arguments = @('gui') + $arguments # files to look at, not a command of the same name
}

Update-Environment 'run'
& (Join-Path $Bin 'mmviewer.exe') @arguments
exit $LASTEXITCODE
