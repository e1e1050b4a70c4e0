"""Tensors from process to process: memory, what is in it, and messages."""

import asyncio
import gc
import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.link.allocator import ALIGNMENT, Allocator, aligned
from executor.link.arena import HEADER, KEPT, Arena
from executor.link.leases import TOLD_AT_ONCE, TOLD_WITHIN_S, Leases
from executor.link.parcel import Parcel, inside, pack, unpack
from executor.link.wire import Wire, accept, connect, listen
from headrace.datatypes import Datatype

decode = msgspec.msgpack.decode
ROOM = 64 * ALIGNMENT


@given(st.lists(st.integers(0, 3 * ROOM // 4) | st.none(), max_size=60), st.randoms(use_true_random=False))
def test_no_two_regions_overlap_and_all_memory_comes_back(wishes, random):
    allocator, taken = Allocator(ROOM), {}
    for size in wishes:
        if size is None:
            if taken:
                allocator.give_back(start := random.choice(sorted(taken)))
                del taken[start]
            continue
        start = allocator.take(size)
        if start is None:
            continue
        end = start + max(size, 1)
        assert start % ALIGNMENT == 0
        assert end <= ROOM
        assert all(end <= other or other + length <= start for other, length in taken.items())
        taken[start] = max(size, 1)
    assert allocator.used == sum(map(aligned, taken.values()))
    for start in taken:
        allocator.give_back(start)
    assert allocator.take(ROOM) == 0


def test_the_lowest_room_is_taken_first_and_none_is_found_where_none_is():
    allocator = Allocator(4 * ALIGNMENT)
    starts = [allocator.take(ALIGNMENT) for _ in range(4)]
    assert starts == [0, ALIGNMENT, 2 * ALIGNMENT, 3 * ALIGNMENT]
    assert allocator.take(1) is None
    allocator.give_back(starts[2])
    allocator.give_back(starts[1])
    assert allocator.take(3 * ALIGNMENT) is None
    assert allocator.take(2 * ALIGNMENT) == starts[1]
    with pytest.raises(KeyError):
        allocator.give_back(starts[2])


ARRAYS = {
    datatype.wire: np.arange(6).reshape(2, 3).astype(datatype.numpy)
    for datatype in Datatype
    if datatype is not Datatype.BYTES
} | {
    "text": np.array([["", "a"], ["ü\n", "日本"]], object),
    "scalar": np.array(7.5, np.float32),
    "no rows": np.zeros((0, 3), np.float64),
    "turned": np.arange(12.0).reshape(3, 4).T,
    "every other": np.arange(10)[::2],
}


@pytest.mark.parametrize("way", ["in memory that both map", "in the message"])
def test_what_is_packed_in_one_process_is_unpacked_in_another(way):
    arena = Arena.create(1 << 16)
    parcel = pack(ARRAYS, arena) if "map" in way else inside(ARRAYS)
    found, region = unpack(decode(msgspec.msgpack.encode(parcel), type=Parcel), Arena(arena.fd))
    assert (region is None) == ("map" not in way)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array)


def test_there_is_room_for_as_much_as_the_arena_has_and_no_more():
    arena, block = Arena.create(1 << 16), {"x": np.zeros((1 << 14) - HEADER, np.uint8)}
    parcels = [pack(block, arena) for _ in range(4)]
    assert None not in parcels
    assert pack({"x": np.zeros(0, np.uint8)}, arena) is None
    arena.give_back(parcels[2].start)
    assert pack(block, arena).start == parcels[2].start


def test_a_region_begins_with_a_header_of_zeros_whatever_was_there_before():
    arena = Arena.create(1 << 12)
    start = arena.take(256)
    arena.region(start, 256)[:] = 255
    arena.give_back(start)
    assert arena.take(256) == start
    assert not arena.region(start, HEADER).any()


def test_memory_of_a_large_tensor_is_given_back_to_the_system():
    arena = Arena.create(4 * KEPT)
    parcel = pack({"x": np.ones(3 * KEPT, np.uint8)}, arena)
    seen = Arena(arena.fd).region(0, 4 * KEPT)
    assert seen[parcel.start + 2 * KEPT] == 1
    arena.give_back(parcel.start)
    assert seen[parcel.start + 2 * KEPT] == 0


def test_a_lease_is_over_when_the_last_view_is_gone_whichever_thread_had_it():
    async def main():
        over = []
        leases, arena = Leases(over.extend), Arena.create(1 << 12)
        parcel = pack({"x": np.arange(8), "y": np.arange(4)}, arena)
        found, region = unpack(parcel, arena)
        leases.watch(parcel.start, region)
        part = found["x"].reshape(2, 4)[1:]
        del found, region
        assert not over
        lasts = [part]
        del part

        thread = threading.Thread(target=lasts.clear)
        thread.start()
        thread.join()
        await asyncio.sleep(2 * TOLD_WITHIN_S)
        assert over == [parcel.start]

        found, region = unpack(parcel, arena)
        leases.watch(parcel.start, region)
        leases.forget()
        del found, region
        gc.collect()
        await asyncio.sleep(2 * TOLD_WITHIN_S)
        assert over == [parcel.start]

    asyncio.run(main())


def test_leases_of_small_regions_are_told_of_together_and_those_of_large_ones_at_once():
    async def main():
        told = []
        leases, arena = Leases(told.append), Arena.create(4 * TOLD_AT_ONCE)

        def used(count, size):
            starts = []
            for _ in range(count):
                start = arena.take(size)
                leases.watch(start, arena.region(start, size))
                starts.append(start)
            return starts

        small = used(3, 256)
        assert not told
        await asyncio.sleep(2 * TOLD_WITHIN_S)
        assert told == [small]
        both = used(1, 256) + used(1, TOLD_AT_ONCE)
        assert told == [small, both]
        used(1, 256)
        leases.forget()
        await asyncio.sleep(2 * TOLD_WITHIN_S)
        assert told == [small, both]
        outlives = arena.region(arena.take(256), 256)
        leases.watch(0, outlives)
        return leases, outlives

    kept = [*asyncio.run(main())]
    kept.pop()  # the loop is closed: nobody is told, and nothing is raised


MESSAGES = [b"", b"a", bytes(range(256)) * 500, b"last"]


def test_messages_arrive_whole_in_order_with_the_arenas_that_were_handed_over(tmp_path):
    async def main():
        heard, lost = [], asyncio.Event()
        listening = listen(tmp_path / "socket")
        theirs = asyncio.get_running_loop().create_task(accept(listening))
        arenas = Arena.create(4096), Arena.create(8192)
        wire = await connect(
            tmp_path / "socket", (arenas[0].fd, arenas[1].fd), lambda: Wire(heard.append, lambda: None)
        )
        end, files = await theirs
        assert [Arena(fd).size for fd in files] == [4096, 8192]
        loop = asyncio.get_running_loop()
        # ruff: noqa: PLW0108 - it is made of what it calls
        _, other = await loop.create_connection(lambda: Wire(lambda message: other.send(message), lost.set), sock=end)
        for message in MESSAGES:
            wire.send(message)
        while len(heard) < len(MESSAGES):  # noqa: ASYNC110 - they come over a socket
            await asyncio.sleep(0.001)
        assert heard == MESSAGES
        wire.close()
        await asyncio.wait_for(lost.wait(), 10)
        wire.send(b"to nobody")
        await asyncio.sleep(0)
        listening.close()

    asyncio.run(main())


def test_who_connects_without_arenas_is_sent_away(tmp_path):
    async def main():
        listening = listen(tmp_path / "socket")
        theirs = asyncio.get_running_loop().create_task(accept(listening))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(b"headrace")
        assert await reader.read() == b""
        writer.close()
        arena = Arena.create(4096)
        wire = await connect(tmp_path / "socket", (arena.fd, arena.fd), lambda: Wire(print, lambda: None))
        end, _ = await theirs
        end.close()
        wire.close()
        listening.close()

    asyncio.run(main())
