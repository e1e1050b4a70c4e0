"""A model whose file has been opened and that has not run yet: by one session, or by the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executor.footprint import Use
from executor.metadata import Signature
from executor.probe import Verdict
from executor.runners import Runner


@dataclass(frozen=True, slots=True)
class Opened:
    """What `load` goes on with."""

    signature: Signature
    runners: Sequence[Runner]
    """Each for `runs` batches at once."""
    runs: int
    providers: tuple[str, ...]
    """Full names, the preferred one first."""
    device: str
    """Where it computes; the same for all models that compute there."""
    threads: int
    """Of each runner, where that is known; 0: it is nobody's but the runner's."""
    more: Callable[[], Runner] | None
    """One more runner, for batches of another size. Raises LoadFailed. None: there can be no more."""
    words: str
    """How it was opened, for the log."""
    adapt: Callable[[Verdict], None]
    """Called with what was found out about the model, before it serves."""
    uses: Callable[[], Sequence[Use]]
    """What it takes of memory besides what this process does, once it is warm."""
    close: Callable[[], None]
    """Give back what garbage collection does not. Nothing runs, and nothing follows."""
