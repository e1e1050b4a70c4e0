"""Where a request's time went, for those who ask with the parameter `explain`: true.

    body there | decode | queue | assemble | run | split | turn | encode | answer handed to the socket

The parts follow each other without a gap, so they add up. They go into the answer's parameters, the encoding with what
it took to make bytes of the tensors; what comes after that cannot be in those bytes, and is in the header
`server-timing` (W3C Server Timing; gRPC: trailing metadata) with all the others. Pure: times are passed in.
"""

from __future__ import annotations

from batcher.account import Account
from batcher.decide import Reason
from headrace.requests import Parameters

PREFIX = "headrace_"
HEADER = "server-timing"
PARTS = ("decode", "queue", "assemble", "run", "split", "turn", "encode")
"""Reading and checking the request; waiting for its batch to begin; putting the batch together; running it; taking it
apart; answers of batch mates, which go first; making the answer."""

_WHY: dict[Reason, str] = {
    "at_once": "an executor was free, and nobody is waited for",
    "full": "it had the most rows that are worth it",
    "enough": "it had enough rows",
    "nobody_expected": "no client that was expected was still away",
    "gave_up": "clients that were expected stayed away for too long",
    "delay_limit": "its oldest request had waited for max_queue_delay_ms",
    "deadline": "its first request would have been late",
}


def why(account: Account) -> str:
    """Why the batch was closed, and who was in it, in a sentence."""
    mates = account.requests - 1
    company = f"{account.rows} rows, {mates} batch mates" if mates else f"{account.rows} rows, no batch mates"
    others = f", {account.running - 1} other batches in flight" if account.running > 1 else ""
    return f"{_WHY.get(account.reason, account.reason)} ({account.reason}; {company}{others})"


def begin(account: Account, since: float, arrived: float) -> Parameters:
    """What is known when the outcome is there, of a request decoded from `since` to `arrived`."""
    times = (since, arrived, account.began, account.assembled, account.ran, account.split)
    spans = zip(PARTS, times, times[1:], strict=False)
    return {
        **{_key(part): _us(end - start) for part, start, end in spans},
        f"{PREFIX}why": why(account),
        f"{PREFIX}reason": account.reason,
        f"{PREFIX}batch_rows": account.rows,
        f"{PREFIX}batch_requests": account.requests,
        f"{PREFIX}batches": account.batches,
    }


def turned(parts: Parameters, since: float, now: float) -> Parameters:
    """With the end of its turn: it is encoded from `now` on."""
    return {**parts, _key("turn"): _rest(parts, since, now)}


def encoded(parts: Parameters, since: float, now: float) -> Parameters:
    """With what encoding its tensors took until `now`: all that the answer itself can say."""
    return {**parts, _key("encode"): _rest(parts, since, now), f"{PREFIX}total_us": _us(now - since)}


def server_timing(parts: Parameters, since: float, now: float) -> str:
    """The header's value, once the answer is made: milliseconds, and why as the description of the queue."""
    final = {**parts, _key("encode"): _rest(parts, since, now, except_for="encode")}
    described = {"queue": f';desc="{parts[f"{PREFIX}why"]}"'}
    metrics = [f"{part}{described.get(part, '')};dur={final[_key(part)] / 1e3:.4f}" for part in PARTS]
    return ", ".join((*metrics, f"total;dur={(now - since) * 1e3:.4f}"))


def _key(part: str) -> str:
    return f"{PREFIX}{part}_us"


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def _rest(parts: Parameters, since: float, now: float, except_for: str = "") -> float:
    known: float = sum(parts.get(_key(part), 0.0) for part in PARTS if part != except_for)
    return round((now - since) * 1e6 - known, 1)
