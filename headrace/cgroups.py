"""The control groups that this process is in, as paths of the system (v1 or v2), its own first, then those above it.

In a container the paths that /proc/self/cgroup names may be the host's and not be mounted; the walk up to the mount's
root then still finds the container's own group there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

_ROOT = PurePosixPath("/sys/fs/cgroup")
MEMBERSHIP = PurePosixPath("/proc/self/cgroup")

ReadText = Callable[[PurePosixPath], str | None]


def read_text(path: PurePosixPath) -> str | None:
    """What the system says there; None where it says nothing."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def groups(membership: str | None, controller: str, mounts: Sequence[str]) -> Iterator[tuple[int, PurePosixPath]]:
    """(version of the interface, folder of a group) with what limits this process by `controller`.

    `membership` is the text of /proc/self/cgroup, `mounts` are the folders of v1 in which the controller may be found.
    """
    for line in (membership or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from ((2, group) for group in _upwards(_ROOT, path))
        elif controller in controllers.split(","):
            for mount in mounts:
                yield from ((1, group) for group in _upwards(_ROOT / mount, path))


def _upwards(mount: PurePosixPath, path: str) -> list[PurePosixPath]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
