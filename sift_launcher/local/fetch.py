"""What a job needs from S3, brought here as long as nothing calls it off."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sift_launcher.errors import BucketError

T = TypeVar("T")

_LOOK_SECONDS = 0.1


class Fetcher:
    """Objects of S3 on their way to this machine, several at once.

    Every method raises what `check` raises, and BucketError, AccessDenied and the like.
    """

    def __init__(self, s3: Any, check: Callable[[], None]) -> None:
        """`s3` is botocore's client, and this object's alone. `check` is called ten times a second
        and raises when the job is not to go on: then nothing more is asked of S3."""
        self._s3 = s3
        self._check = check
        self._is_called_off = False
        s3.meta.events.register("before-call.s3", self._refuse_when_called_off)

    def keys(self, uri: str) -> list[str]:
        """The keys of all objects that begin with that of `uri`, sorted; folders' own left out."""
        from sift_launcher.cloud.s3 import listed

        found = self._do(lambda: [each.key for each in listed(self._s3, uri)])
        return [key for key in found if not key.endswith("/")]

    def file(self, uri: str, path: Path) -> None:
        """Fetches one object."""
        from sift_launcher.cloud.s3 import get_file

        self._do(lambda: get_file(self._s3, uri, path))

    def tree(self, uri: str, folder: Path, keys: Collection[str]) -> None:
        """Fetches those objects below `uri` into `folder`, which is made."""
        from sift_launcher.cloud.s3 import get_tree

        folder.mkdir(parents=True, exist_ok=True)
        if keys:
            self._do(lambda: get_tree(self._s3, uri, folder, set(keys)))

    def manifest(self, uri: str, aside: Path) -> tuple[str, list[str]]:
        """The prefix that a manifest at `uri` names, and the keys of its objects, sorted."""
        from sift_launcher.cloud.s3 import split

        self.file(uri, aside)
        try:
            first, *names = json.loads(aside.read_text("utf-8"))
            prefix = str(first["prefix"])
        except (ValueError, TypeError, KeyError) as error:
            raise BucketError(
                f'{uri} is no manifest ({error}): write [{{"prefix": "s3://bucket/data/"}}, '
                '"first.csv", "second.csv"]'
            ) from error
        _, start = split(prefix)
        return prefix, sorted(start + str(name) for name in names)

    def _do(self, work: Callable[[], T]) -> T:
        """What `work` gives, done in a thread that may be left behind."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                outcome.set_exception(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while not outcome.done():
            thread.join(_LOOK_SECONDS)
            try:
                self._check()
            except BaseException:
                self._is_called_off = True
                raise
        return outcome.result()

    def _refuse_when_called_off(self, **_: object) -> None:
        if self._is_called_off:
            raise BucketError("the job is not to go on")
