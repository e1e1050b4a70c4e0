"""Version policy: which of the versions on disk are served. Pure.

Receives a policy (`ModelConfig.versions`) and the version numbers found, hands back those to serve. A version that the
policy names and that is not there is not chosen; `scan` reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

from headrace.config import Latest

Policy: TypeAlias = Latest | Literal["all"] | tuple[int, ...]


def choose(policy: Policy, available: Collection[int]) -> tuple[int, ...]:
    """The versions to serve, ascending and without repetition."""
    found = sorted(set(available))
    if policy == "all":
        return tuple(found)
    if isinstance(policy, Latest):
        return tuple(found[-policy.latest :])
    return tuple(version for version in found if version in policy)


def missing(policy: Policy, available: Collection[int]) -> tuple[int, ...]:
    """The versions that the policy names and that are not available, ascending."""
    return tuple(sorted(set(policy) - set(available))) if isinstance(policy, tuple) else ()
