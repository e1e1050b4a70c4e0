"""Give the requests of a batch their outcomes, come what may."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from batcher.entry import Entry, Outcome
from headrace.models import ModelId

logger = logging.getLogger("headrace.batcher")


def deliver(model: ModelId, batch: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
    """One outcome for each entry. A bug in whoever receives one is logged: the batch mates are not to suffer."""
    for entry, outcome in zip(batch, outcomes, strict=True):
        try:
            entry.finish(outcome)
        except Exception:
            logger.exception("model %s: an answer could not be delivered", model)
