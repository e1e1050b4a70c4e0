"""How much memory there is for this process: the machine's, cut by the limits of its cgroups (v1 or v2).

What the system keeps of files, to read them faster, counts as free: it goes when somebody needs the room. A tmpfs and
memory that processes share do not. Only `room`, `limit` and `kills` read the system. Files that are missing or
unreadable mean no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from headrace.cgroups import MEMBERSHIP, ReadText, groups, read_text

_MOUNTS = ("memory",)
_MEMINFO = PurePosixPath("/proc/meminfo")
MACHINE, GROUP = "this machine", "this control group"


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that `whose` processes may have in all, and how many of them are not taken."""

    limit_bytes: int
    free_bytes: int
    whose: str


def room() -> Room | None:
    """Where this process would first find none left; None where the system does not say."""
    return tightest(_rooms())


def limit() -> int | None:
    """Bytes that this process and those in its group may have at most; None where the system does not say."""
    return min((each.limit_bytes for each in _rooms()), default=None)


def kills() -> int:
    """How many processes of this one's group have been killed so far because its limit left them no memory."""
    return kills_of_groups(read_text(MEMBERSHIP), read_text)


def tightest(rooms: Iterable[Room]) -> Room | None:
    """The one with the least that is free, of those that bound anything: a limit may be larger than the machine."""
    known = list(rooms)
    return min(known, key=lambda each: (each.free_bytes, each.limit_bytes)) if known else None


def of_machine(meminfo: str | None) -> Room | None:
    """By /proc/meminfo: MemTotal and MemAvailable, in KiB (proc(5))."""
    said = _numbers(meminfo)
    if "MemTotal:" not in said or "MemAvailable:" not in said:
        return None
    return Room(said["MemTotal:"] * 1024, said["MemAvailable:"] * 1024, MACHINE)


def of_groups(membership: str | None, read: ReadText) -> list[Room]:
    """Of every group with a limit that this process is in; `membership` is the text of /proc/self/cgroup."""
    found: list[Room | None] = []
    for version, group in groups(membership, "memory", _MOUNTS):
        if version == 2:
            names = ("memory.max", "memory.current", "memory.stat")
            found.append(of_group_v2(*(read(group / name) for name in names)))
        else:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
            found.append(of_group_v1(*(read(group / name) for name in names)))
    return [each for each in found if each is not None]


def of_group_v2(limit: str | None, usage: str | None, stat: str | None) -> Room | None:
    """By `memory.max` ("max": no limit), `memory.current` and `memory.stat`; None for no limit."""
    said = _numbers(stat)
    return _room(limit, usage, said.get("file", 0) - said.get("shmem", 0) + said.get("slab_reclaimable", 0))


def of_group_v1(limit: str | None, usage: str | None, stat: str | None) -> Room | None:
    """By `memory.limit_in_bytes` (none is a number larger than any machine), `memory.usage_in_bytes`, `memory.stat`."""
    said = _numbers(stat)
    return _room(limit, usage, said.get("total_cache", 0) - said.get("total_shmem", 0))


def kills_of_groups(membership: str | None, read: ReadText) -> int:
    """`oom_kill` of `memory.events` (v2) or `memory.oom_control` (v1), of the first group that has it: the nearest."""
    for version, group in groups(membership, "memory", _MOUNTS):
        said = _numbers(read(group / ("memory.events" if version == 2 else "memory.oom_control")))
        if "oom_kill" in said:
            return said["oom_kill"]
    return 0


def _room(limit: str | None, usage: str | None, reclaimable: int) -> Room | None:
    try:
        most, taken = int(limit or ""), int(usage or "")
    except ValueError:
        return None
    return Room(most, max(0, min(most, most - taken + reclaimable)), GROUP)


def _rooms() -> list[Room]:
    return [*_listed(of_machine(read_text(_MEMINFO))), *of_groups(read_text(MEMBERSHIP), read_text)]


def _listed(found: Room | None) -> list[Room]:
    return [] if found is None else [found]


def _numbers(text: str | None) -> Mapping[str, int]:
    """Lines of a name and a number, whatever follows."""
    fields = (line.split() for line in (text or "").splitlines())
    return {each[0]: int(each[1]) for each in fields if len(each) > 1 and each[1].isdecimal()}
