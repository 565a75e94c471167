"""What can go wrong between this machine and the hub, each in its own sentence."""

from __future__ import annotations

import errno

import httpx2

from mmviewer.core.errors import ModelError
from mmviewer.core.words import seconds_in_words

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_KEPT = "what has arrived is kept, and the download goes on from there when you start it again"


class DownloadError(ModelError):
    """A download failed; what has arrived is kept unless the sentence says otherwise."""


class AccessError(DownloadError):
    """The hub wants a token, or its owner's consent, before it hands the model out."""


def refused(status: int, repo: str, endpoint: str, *, with_token: bool) -> DownloadError:
    """The error for an answer of the hub that is no success."""
    page = f"{endpoint}/{repo}"
    if status == 401 and with_token:
        return AccessError(
            f"The hub does not accept the stored token for {repo} (401): it has expired or may not read this "
            f"model; make a new one at {endpoint}/settings/tokens and enter it under Model > Manage models."
        )
    if status == 401:
        return AccessError(
            f"The hub hands {repo} out to known accounts only, or it does not exist (401): check the id, "
            f"accept the terms at {page}, and enter a token from {endpoint}/settings/tokens under "
            "Model > Manage models."
        )
    if status == 403:
        return AccessError(
            f"{repo} is gated and your account has no access yet (403): accept its licence at {page}, "
            "then download it with a token of that account."
        )
    if status in (404, 410):
        return DownloadError(
            f"The hub has no model {repo}, or not this file of it (404); check the id at {page}."
        )
    if status >= 500:
        return DownloadError(
            f"The hub has trouble of its own ({status}) with {repo}; try again later: {_KEPT}."
        )
    return DownloadError(f"The hub refused {repo} ({status}); look at {page} and try again: {_KEPT}.")


def busy(repo: str, seconds: float) -> DownloadError:
    """The hub asks to come back later."""
    wait = seconds_in_words(seconds)
    return DownloadError(
        f"The hub asks to wait {wait} before it goes on with {repo} (429: too many requests); try again "
        f"after that, or with a token: {_KEPT}."
    )


def broken_off(error: BaseException, repo: str, endpoint: str) -> DownloadError:
    """The network failed; says how."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return DownloadError(
            f"{endpoint} cannot be reached; check the network or proxy and try again. Models that are here "
            f"can still be loaded; {_KEPT}."
        )
    if isinstance(error, httpx2.TimeoutException):
        return DownloadError(f"The connection stalled while downloading {repo}; check the network: {_KEPT}.")
    return DownloadError(f"The connection was cut while downloading {repo}, several times; {_KEPT}.")


def wrong_content(name: str, repo: str) -> DownloadError:
    """A file arrived whole and is not what the hub says it is."""
    return DownloadError(
        f"{name} of {repo} arrived with another checksum than the hub names, so it was thrown away; "
        "try again later, and do not use another copy of it unless you trust it."
    )


def cannot_write(error: OSError, folder: object, needed: str) -> DownloadError:
    """The disk refused what arrived."""
    if error.errno in _DISK:
        return DownloadError(
            f"The disk with {folder} is full ({needed} are still missing); free some space or move the "
            f"folder of models to a larger disk, then go on: {_KEPT}."
        )
    reason = error.strerror or type(error).__name__
    return DownloadError(f"{folder} cannot be written ({reason}); choose another folder for models.")


def no_room(repo: str, needed: str, free: str, folder: object) -> DownloadError:
    """The disk is known to be too small before anything is fetched."""
    return DownloadError(
        f"{repo} needs {needed} more, but only {free} are free on the disk with {folder}; free some space, "
        "or move the folder of models to a larger disk."
    )


def offline(repo: str) -> DownloadError:
    """Downloads are switched off."""
    return DownloadError(
        f"{repo} is not on this machine, and downloads are switched off; allow them with "
        "Model > Allow downloads of models, or MMVIEWER_ONLINE=1."
    )


def nonsense(repo: str) -> DownloadError:
    """The hub's answer is not what a hub says."""
    return DownloadError(
        f"The answer about {repo} cannot be understood, so nothing was downloaded; another program between "
        "this machine and the hub (a login page, a proxy) may have answered: check the network."
    )
