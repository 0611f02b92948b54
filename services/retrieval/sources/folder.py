"""A folder: told of changes by the system, and compared as a whole now and then, since tellings can be lost."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from watchfiles import awatch

from services.retrieval.sources import LARGEST_BYTES, Change, Desk, Kind, SourceAway, SourceSettings, of_file, readable
from services.retrieval.sources.comparing import Listed, compared

WHOLE_EVERY_S = 60.0
SETTLES_MS, STEP_MS = 100, 20
"""Changes that come within so long of each other are looked at together."""
FRESH_S = 2.0
"""A file that changed so lately may change once more within the same tick of its clock, to the same size: it is read again when it is
looked at next. No file system's tick is longer."""
FRESH = "~"


@dataclass(slots=True)
class Folder:
    settings: SourceSettings
    path: str
    kind: Kind = Kind.FOLDER

    async def run(self, desk: Desk) -> None:
        root = Path(self.path).absolute()  # noqa: ASYNC240 - a look at one folder, once
        if not root.is_dir():
            raise SourceAway(f"{root} is no folder")
        changes = self._told(root)
        waiting = asyncio.ensure_future(anext(changes))  # before the first look: nothing falls in between
        try:
            while True:
                await self._whole(root, desk)
                until = time.monotonic() + WHOLE_EVERY_S
                while (left := until - time.monotonic()) > 0:
                    done, _ = await asyncio.wait([waiting], timeout=left)
                    if done:
                        await self._some(root, waiting.result(), desk)
                        waiting = asyncio.ensure_future(anext(changes))
        except (OSError, RuntimeError) as error:  # the latter from the watcher, when the system lets it watch no more
            raise SourceAway(f"{root} cannot be read: {type(error).__name__}") from error
        finally:
            waiting.cancel()

    async def _told(self, root: Path) -> AsyncIterator[set[str]]:
        async for found in awatch(root, debounce=SETTLES_MS, step=STEP_MS, recursive=True):
            yield {path for _, path in found}

    async def _whole(self, root: Path, desk: Desk) -> None:
        seen = time.time()
        listing, known = await asyncio.to_thread(_listing, root, _all(root)), await self._known(desk)
        listing = {path: _looked_at(one, known.get(path, ""), seen) for path, one in listing.items()}
        await compared(desk, self.settings.collection, listing, lambda path, one: self._load(root, path, one), seen)

    async def _some(self, root: Path, paths: Iterable[str], desk: Desk) -> None:
        """Files that something was told of; a folder among them stands for all that is and was in it."""
        seen = time.time()
        named = {str(Path(path).relative_to(root)) for path in paths}
        known = await self._known(desk)
        within = {path for path in known if any(path == one or path.startswith(f"{one}/") for one in named)}
        here = await asyncio.to_thread(_listing, root, [*within, *_under(root, named)])
        for path in within - here.keys():
            await desk.take(Change(path, self.settings.collection, seen))
        for path, listed in here.items():
            if known.get(path) == listed.mark:
                continue
            if (change := await self._load(root, path, _looked_at(listed, known.get(path, ""), seen))) is not None:
                await desk.take(change)

    async def _known(self, desk: Desk) -> dict[str, str]:
        return {path: mark for (where, path), mark in (await desk.marks()).items() if where == self.settings.collection}

    async def _load(self, root: Path, path: str, listed: Listed) -> Change | None:
        try:
            content = await asyncio.to_thread(_content, root / path)
        except OSError:
            return None  # gone meanwhile, or not for us: the next look tells
        return of_file(self.settings, path, content, listed.changed, listed.mark)


def _looked_at(listed: Listed, known: str, seen: float) -> Listed:
    """What is read again to be sure is not late by the time that went by since it changed."""
    same = known.partition(FRESH)[0] == listed.mark.partition(FRESH)[0]
    return replace(listed, changed=seen) if same else listed


def _all(root: Path) -> Iterable[str]:
    return _under(root, {"."})


def _under(root: Path, named: Iterable[str]) -> Iterable[str]:
    for one in named:
        if (root / one).is_dir():
            for folder, _, names in os.walk(root / one):
                yield from (os.path.relpath(os.path.join(folder, name), root) for name in names)
        else:
            yield one


def _listing(root: Path, paths: Iterable[str]) -> dict[str, Listed]:
    """Files that can be read, and that are in the folder: a link that leads out of it is not followed."""
    made: dict[str, Listed] = {}
    inside = root.resolve()
    for path in filter(readable, paths):
        try:
            whole = (root / path).resolve(strict=True)
            facts = whole.stat()
        except OSError:
            continue
        if whole.is_relative_to(inside) and whole.is_file():
            now = time.time()
            mark = f"{facts.st_mtime_ns}-{facts.st_size}"
            made[path] = Listed(f"{mark}{FRESH}{now}" if now - facts.st_mtime < FRESH_S else mark, facts.st_mtime)
    return made


def _content(path: Path) -> bytes:
    """One byte more than may be, so that too much is seen as such."""
    with path.open("rb") as opened:
        return opened.read(LARGEST_BYTES + 1)
