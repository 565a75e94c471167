"""One registry for every kind of plugin; a plugin is a file in the folder of its kind."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Generic, TypeVar

from mmviewer.core.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named plugins of one kind, found by importing every module of a package.

    Parameters
    ----------
    kind : str
        What the plugins are, in words for error messages ("attribution method").
    package : str
        The package whose modules register themselves with `add` when imported.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._plugins: dict[str, T] = {}
        self._scanned = False
        self._lock = Lock()

    def add(self, key: str) -> Callable[[T], T]:
        """Return a decorator that registers a plugin under `key`; a key may be used once."""

        def register(plugin: T) -> T:
            if key in self._plugins:
                raise ValueError(f"two {self.kind} plugins are called {key!r}")
            self._plugins[key] = plugin
            return plugin

        return register

    def get(self, key: str) -> T:
        """Return the plugin called `key`, or raise `InputError` naming those that exist."""
        self._scan()
        try:
            return self._plugins[key]
        except KeyError as error:
            known = ", ".join(sorted(self._plugins))
            raise InputError(f"There is no {self.kind} called {key!r}; choose one of: {known}.") from error

    def keys(self) -> list[str]:
        """The names of all plugins, sorted."""
        self._scan()
        return sorted(self._plugins)

    def __iter__(self) -> Iterator[T]:
        return iter([self._plugins[key] for key in self.keys()])

    def _scan(self) -> None:
        with self._lock:
            if self._scanned:
                return
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._scanned = True
