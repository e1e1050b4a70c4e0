"""Requests of different lengths in one batch: who is in it, what the model sees, what everybody gets."""

import asyncio

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor, PuppetExecutor, SmallExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import turns, virtual

from batcher.costs import Terms
from batcher.lengths import Lengths
from batcher.line import CHOICE, Line
from batcher.work import Work
from headrace.padding import Padded, Padding

FILLING = 9.0
PADDING = Padding({"x": Padded(1, FILLING)}, {"y": (1,)})
TERMS = Terms(run=10e-3, row=0.0, token=1e-3, square=0.0)
"""A run is worth ten positions."""
SEED = [(rows, length, TERMS.seconds(rows, length)) for rows in (1, 4, 16) for length in (4, 16, 64)]


def lengths():
    return Lengths(PADDING, Work(SEED))


def request(length, rows=1, arrived=0.0):
    entry = Asked(np.arange(rows * length).reshape(rows, length) + 1, arrived)
    entry.length = length
    return entry


def ask(batcher, length, rows=1, timeout_s=0.0):
    entry = request(length, rows, asyncio.get_running_loop().time())
    batcher.submit(entry, timeout_s)
    return entry


def is_right(entry, length, rows=1):
    expected = 2 * (np.arange(rows * length, dtype=np.float32).reshape(rows, length) + 1)
    return np.array_equal(entry.outcome["y"], expected)


@virtual
async def test_another_length_does_not_close_a_batch_and_answers_are_cut_back():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        asked = [(ask(batcher, length), length) for length in (5, 6, 7, 6)]
        await asyncio.sleep(2)
        assert executor.batches == [4]
        assert executor.seen[0][1].tolist() == [
            [1, 2, 3, 4, 5, FILLING, FILLING],
            [1, 2, 3, 4, 5, 6, FILLING],
            [1, 2, 3, 4, 5, 6, 7],
            [1, 2, 3, 4, 5, 6, FILLING],
        ]
        assert all(is_right(entry, length) for entry, length in asked)


@virtual
async def test_a_batch_is_made_of_lengths_for_which_it_pays_and_the_others_come_next():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        asked = [(ask(batcher, length), length) for length in (5, 40, 6, 41, 5)]
        await asyncio.sleep(3)
        assert [x.shape for _, x in executor.seen] == [(3, 6), (2, 41)]
        assert all(is_right(entry, length) for entry, length in asked)


@virtual
async def test_the_odd_one_waits_until_those_before_it_have_run_and_no_longer():
    executor = PuppetExecutor()
    async with batching(executor, lengths=lengths()) as batcher:
        ask(batcher, 5)
        await turns()
        odd = ask(batcher, 60)
        for _ in range(20):  # there are always others that would make a better batch
            ask(batcher, 5)
        executor.finish()
        await turns()
        assert executor.seen[-1][1].shape == (1, 60)
        executor.finish()
        await turns()
        assert is_right(odd, 60)
        executor.finish(3)


@virtual
async def test_lengths_are_those_of_rows_not_of_requests():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        long, short = ask(batcher, 8), ask(batcher, 6, rows=6)  # two positions each for six rows: more than a run
        await asyncio.sleep(3)
        assert [x.shape for _, x in executor.seen] == [(1, 8), (6, 6)]
        assert is_right(long, 8)
        assert is_right(short, 6, rows=6)


@virtual
async def test_a_large_request_is_cut_and_its_pieces_are_padded():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        large, small = ask(batcher, 5, rows=12), ask(batcher, 6)
        await asyncio.sleep(3)
        assert [x.shape for _, x in executor.seen] == [(8, 5), (5, 6)]
        assert is_right(large, 5, rows=12)
        assert is_right(small, 6)


@virtual
async def test_who_is_to_be_left_alone_runs_as_it_is():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        alone = batcher.ask([[1, 2, 3]], key="as it is")
        mates = [ask(batcher, 5), ask(batcher, 6)]
        await asyncio.sleep(3)
        assert [x.shape for _, x in executor.seen] == [(1, 3), (2, 6)]
        assert alone.is_right([[1, 2, 3]])
        assert is_right(mates[0], 5)


@virtual
async def test_who_makes_a_padded_batch_fail_fails_alone():
    executor = FakeExecutor(seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        good = [(ask(batcher, length), length) for length in (5, 6, 7)]
        bad = Asked([[1.0, -1.0]], 0.0)
        bad.length = 2
        batcher.submit(bad)
        await asyncio.sleep(20)
        assert str(bad.outcome) == "poison"
        assert all(is_right(entry, length) for entry, length in good)


@virtual
async def test_with_too_little_memory_padded_batches_become_smaller():
    executor = SmallExecutor(fits=2, seconds=1.0)
    async with batching(executor, lengths=lengths()) as batcher:
        asked = [(ask(batcher, length), length) for length in (5, 6, 7, 6)]
        await asyncio.sleep(9)
        assert all(is_right(entry, length) for entry, length in asked)
        assert executor.batches[-1] <= 2


@virtual
async def test_who_has_gone_is_in_no_padded_batch():
    executor = PuppetExecutor()
    async with batching(executor, lengths=lengths()) as batcher:
        ask(batcher, 5)
        await turns()
        gone, stays = ask(batcher, 6), ask(batcher, 7)
        batcher.cancel(gone)
        executor.finish(2)
        await turns()
        assert executor.seen[-1][1].shape == (1, 7)
        assert is_right(stays, 7)
        assert batcher.queue_rows == 0


@virtual
async def test_the_batcher_says_what_it_has_learnt_of_lengths():
    async with batching(FakeExecutor(seconds=1.0), lengths=lengths()) as batcher:
        ask(batcher, 5)
        ask(batcher, 7)
        await asyncio.sleep(2)
        found = batcher.describe()["lengths"]
        assert found["mean_length"] == 6
        assert found["padded_share"] == pytest.approx(2 / 14, abs=1e-4)
        assert found["row_and_length_ms"] > 0


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 4), st.booleans()), min_size=1, max_size=CHOICE + 20),
    st.integers(1, 40),
)
def test_a_batch_has_the_first_and_no_more_rows_than_asked_for_and_the_others_stay_in_order(asked, most_rows):
    line, entries = Line(), []
    for number, (length, rows, done) in enumerate(asked):
        entry = request(length, rows, arrived=float(number))
        entry.done = done and number > 0
        entry.waiting = not entry.done
        line.join(entry)
        if entry.done:
            line.rows -= rows
        entries.append(entry)
    batch, done = line.take(most_rows, lengths().choose)

    assert batch[0] is entries[0]
    assert len(batch) == 1 or sum(entry.rows for entry in batch) <= most_rows
    left = []
    while line:
        more, also_done = line.take(1)
        left += more
        done += also_done
    assert left == [entry for entry in entries if not entry.done and entry not in batch]
    assert done == sum(entry.done for entry in entries)
    assert line.rows == 0
    assert not any(entry.waiting for entry in entries)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=6), st.integers(1, 2))
def test_what_is_put_together_and_cut_back_is_what_it_was(shapes, axis):
    tail = (2,) if axis == 2 else ()
    rng = np.random.default_rng(0)
    both = Lengths(Padding({"x": Padded(axis, FILLING)}, {"x": (axis,)}), Work())
    batch = []
    for length, rows in shapes:
        entry = request(length, rows)
        entry.inputs = {"x": rng.random((rows, *tail, length)), "other": rng.random((rows, 3))}
        batch.append(entry)

    whole = dict(both.concat(batch))
    start, parts = 0, []
    for entry in batch:
        parts.append({name: array[start : start + entry.rows] for name, array in whole.items()})
        start += entry.rows

    assert whole["x"].shape == (start, *tail, max(length for length, _ in shapes))
    for entry, part in zip(batch, both.cut_back(batch, parts), strict=True):
        assert np.array_equal(part["x"], entry.inputs["x"])
        assert np.array_equal(part["other"], entry.inputs["other"])
    for entry, part in zip(batch, parts, strict=True):
        assert (part["x"][..., entry.length :] == FILLING).all()
