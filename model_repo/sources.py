"""Where the wanted set comes from: an async iterator of scans for each control mode.

Receives repository folders, and the remotes that some of them are copies of; yields a `Scan` whenever there is
something new; the supervisor iterates and passes it on to every replica's `Manager.want`. The three modes differ only
in what they ask for and when they yield.

    none       everything, once
    explicit   the named models, once; others come and go through `explicit.Explicit`
    poll       everything, then whatever changed, for as long as it is iterated

Only `poll` has a rule to keep, and it is pure: `settle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import watchfiles

from headrace.errors import RepositoryError
from model_repo.explicit import Explicit
from model_repo.found import ModelScan, Scan
from model_repo.look import look
from model_repo.remote.remotes import NO_REMOTES, Remotes

log = logging.getLogger("headrace.model_repo")

Source: TypeAlias = AsyncIterable[Scan]
"""What is wanted, again after every change."""
Mode: TypeAlias = Literal["poll", "explicit", "none"]

SETTLE_S = 0.5
"""Two scans this far apart must be equal before a change counts: shorter than this, a copy may pause."""
RESCAN_S = 15.0
"""Longest time between scans. Network file systems do not report what other machines change."""


def source(
    mode: Mode, repositories: Sequence[Path], names: Collection[str] = (), remotes: Remotes = NO_REMOTES
) -> Source:
    """The source of a control mode. `names` are the models that explicit mode begins with."""
    match mode:
        case "none":
            return none(repositories, remotes)
        case "explicit":
            return Explicit(repositories, names, remotes)
        case "poll":
            return poll(repositories, remotes=remotes)


async def none(repositories: Sequence[Path], remotes: Remotes = NO_REMOTES) -> AsyncIterator[Scan]:
    """Everything that is there now. Raises RepositoryError if a repository cannot be read, as all sources do."""
    await remotes.synchronise()
    yield await look(repositories)


async def poll(
    repositories: Sequence[Path],
    settle_s: float = SETTLE_S,
    rescan_s: float = RESCAN_S,
    remotes: Remotes = NO_REMOTES,
) -> AsyncIterator[Scan]:
    """What is there now, then what is there after each change, once it has settled.

    Remotes are followed beside the scans and not in them, so that a long copy from one holds nothing up: what comes
    from there is to the scans a change of the copy's folder.
    """
    await remotes.synchronise()
    rescan_ms = round(rescan_s * 1e3)
    watch = watchfiles.awatch(*repositories, watch_filter=None, rust_timeout=rescan_ms, yield_on_timeout=True)
    async with remotes.followed(), contextlib.aclosing(watch) as hints:
        async for found in follow(lambda: look(repositories), hints, lambda: asyncio.sleep(settle_s)):
            yield found


async def follow(
    see: Callable[[], Awaitable[Scan]], hints: AsyncIterable[object], pause: Callable[[], Awaitable[object]]
) -> AsyncIterator[Scan]:
    """Look once, then at every hint, and after a `pause` again while anything still changes.

    What is there at the start is taken as it is: a start must not wait, and a copy that was under way settles later.
    A look that fails later leaves everything as it is: a mount that went away is no order to unload.
    """
    published = last = await see()
    yield published
    async for _ in hints:
        while True:
            try:
                now = await see()
            except RepositoryError as error:
                log.warning("keeping what is loaded: %s", error)
                break
            news = settle(published, last, now)
            if news != published:
                published = news
                yield published
            if now == last:
                break
            last = now
            await pause()


def settle(published: Scan, last: Scan, now: Scan) -> Scan:
    """What counts of the newest look: per model, what the last two looks agree on; else what counted before.

    A model that was served and now has only problems keeps its versions and labels beside them: breaking a
    configuration file is no order to unload, removing the folder is.
    """
    models: dict[str, ModelScan] = {}
    for name in sorted({*published.models, *now.models}):
        before, found = published.models.get(name), now.models.get(name)
        if found != last.models.get(name):
            found = before
        elif found is not None and before is not None and not found.versions:
            found = replace(before, problems=found.problems)
        if found is not None:
            models[name] = found
    return Scan(models)
