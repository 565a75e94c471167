"""The hub's token: kept in the system's keyring, never in a file of ours."""

from __future__ import annotations

import huggingface_hub
import keyring
from keyring.errors import KeyringError, PasswordDeleteError

from mmviewer.core.errors import InputError
from mmviewer.core.hub import network

_SERVICE = "mmviewer hub"
_LONGEST = 300


def get() -> str | None:
    """The token of the keyring, else that of the hub's own tools (``HF_TOKEN``, ``hf auth login``)."""
    try:
        kept = keyring.get_password(_SERVICE, _account())
    except KeyringError:  # no keyring on this machine, or a locked one
        kept = None
    return kept or huggingface_hub.get_token()


def known() -> bool:
    """Whether there is a token."""
    return get() is not None


def keep(value: str) -> None:
    """Put a token into the keyring; an empty one takes the kept one out.

    Raises
    ------
    InputError
        It is no token, or this machine has no keyring that can be used.
    """
    value = value.strip()
    if not value:
        _forget()
        return
    if len(value) > _LONGEST or not value.isascii() or not value.isprintable() or " " in value:
        raise InputError(f"This is no token; copy one from {network.endpoint()}/settings/tokens.")
    try:
        keyring.set_password(_SERVICE, _account(), value)
    except KeyringError as error:
        raise InputError(
            "The token cannot be kept, because this machine has no keyring that can be used; set the "
            "environment variable HF_TOKEN or run “hf auth login” instead."
        ) from error


def _forget() -> None:
    try:
        keyring.delete_password(_SERVICE, _account())
    except (PasswordDeleteError, KeyringError):  # there was none
        return


def _account() -> str:
    """A token is sent to the hub that it is for, and to no other."""
    return network.host_of(network.endpoint())
