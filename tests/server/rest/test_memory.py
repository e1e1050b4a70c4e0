from server.rest.memory import MOST, Memory


def test_what_is_kept_is_found_and_what_is_made_up_takes_bounded_room():
    memory = Memory()
    for number in range(MOST + 10):
        memory.keep(number, -number)
        assert memory[number] == -number
        assert len(memory) <= MOST
