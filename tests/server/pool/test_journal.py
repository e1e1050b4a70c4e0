import json

from server.pool import journal
from server.pool.journal import KEPT, Journal


def test_events_are_read_in_order_from_the_one_that_was_read_last(tmp_path):
    assert journal.read(tmp_path) == []
    pen = Journal(tmp_path)
    pen.note("wanted", "m", 1)
    pen.note("refused", "m", 1, "line\nbreak")
    pen.note("ready", text="replica 0")
    assert [(one.id, one.kind, one.model, one.version, one.text) for one in journal.read(tmp_path)] == [
        (1, "wanted", "m", "1", ""),
        (2, "refused", "m", "1", "line\nbreak"),
        (3, "ready", "", "", "replica 0"),
    ]
    assert [one.id for one in journal.read(tmp_path, since=2)] == [3]
    assert [one.id for one in journal.read(tmp_path, model="m")] == [1, 2]


def test_the_last_events_stay_and_the_file_is_bounded(tmp_path):
    pen = Journal(tmp_path)
    for number in range(5 * KEPT):
        pen.note("wanted", "m", number)
        if number % 97 == 0:
            ids = [one.id for one in journal.read(tmp_path)]
            assert ids == list(range(number + 2 - len(ids), number + 2))
            assert min(number + 1, KEPT) <= len(ids) <= 2 * KEPT


def test_half_a_line_is_not_read(tmp_path):
    Journal(tmp_path).note("wanted", "m", 1)
    with (tmp_path / "events").open("a") as file:
        file.write(json.dumps({"id": 2})[:5])
    assert [one.id for one in journal.read(tmp_path)] == [1]


def test_counts_outlast_the_events_that_are_dropped(tmp_path):
    assert journal.counts(tmp_path) == {}
    pen = Journal(tmp_path)
    pen.note("published", "m", 1)
    for _ in range(3 * KEPT):
        pen.note("wanted", "m", 1)
    assert journal.counts(tmp_path) == {"published": 1, "wanted": 3 * KEPT}
