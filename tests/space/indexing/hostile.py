"""Decoding that does what the worst files do; imported by worker processes too."""

from __future__ import annotations

import os
import time

from mmviewer.core.space.indexing.decode import Decoding, Job, Outcome


class Hostile(Decoding):
    """Ends its process, sleeps or raises where the name of an item says so."""

    def __call__(self, job: Job) -> Outcome:
        if job.name == "deadly":
            os._exit(139)
        if job.name == "endless":
            time.sleep(600)
        return super().__call__(job)


class Stillborn:
    """Cannot be unpickled: stands for a process that dies before it begins."""

    def __reduce__(self):
        return os._exit, (1,)
