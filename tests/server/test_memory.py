from server.memory import MOST, Memory, Twice


def test_what_is_kept_is_found_and_what_is_made_up_takes_bounded_room():
    memory = Memory()
    for number in range(MOST + 10):
        memory.keep(number, -number)
        assert memory[number] == -number
        assert len(memory) <= MOST


def test_what_comes_again_is_known_from_the_second_time_on():
    twice = Twice()
    assert [twice.seen(thing) for thing in (b"a", b"b", b"a", b"a", b"c", b"b")] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_what_is_long_is_always_new():
    twice = Twice()
    assert [twice.seen(bytes(Twice.LARGEST + extra)) for extra in (0, 0, 1, 1)] == [False, True, False, False]
    assert len(twice) == 1
