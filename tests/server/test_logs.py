"""Log lines for people and for machines."""

import json
import logging
import sys
import warnings

import pytest

from server.logs import ROUTINE, JsonFormatter, TextFormatter, set_up


def record(message="took %d ms", *arguments, level=logging.INFO, name="headrace.batcher", error=None, **extra):
    made = logging.LogRecord(name, level, __file__, 1, message, arguments, error)
    made.created = 1_700_000_000.25
    vars(made).update(extra)
    return made


@pytest.fixture
def failure():
    try:
        raise ValueError("a bug")
    except ValueError:
        return sys.exc_info()


@pytest.fixture
def _logging_as_it_was():
    root, ours = logging.getLogger(), logging.getLogger("headrace")
    before = root.handlers[:], root.level, ours.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level, ours.level = before
    for name in ROUTINE:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_text_line_has_time_level_process_and_logger():
    line = TextFormatter("replica 1").format(record("took %d ms", 5))
    assert line[:4] == "2023"
    assert line.endswith(" INFO replica 1 batcher: took 5 ms")


def test_text_line_ends_with_what_was_given_extra():
    assert TextFormatter("replica 1").format(record("ran", model="m", rows=5)).endswith("ran model=m rows=5")


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a-7", "a-7"), (0.25, "0.25"), ("", "''"), ("a b", "'a b'"), ("x\nERROR", "'x\\nERROR'"), ("a=b", "'a=b'")],
)
def test_what_clients_send_stays_one_word_of_the_text_line(given, shown):
    assert TextFormatter("p").format(record("ran", id=given)).endswith(f"ran id={shown}")


def test_text_traceback_follows_its_line(failure):
    first, second, *_, last = TextFormatter("p").format(record("failed", error=failure)).splitlines()
    assert first.endswith("batcher: failed")
    assert second.startswith("Traceback")
    assert last == "ValueError: a bug"


def test_json_line_is_one_object():
    line = JsonFormatter("replica 1").format(record("took %d ms", 5, model="m", level=logging.WARNING))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": 1_700_000_000.25,
        "level": "warning",
        "process": "replica 1",
        "logger": "headrace.batcher",
        "message": "took 5 ms",
        "model": "m",
    }


def test_json_line_holds_the_traceback_and_anything_extra(failure):
    line = JsonFormatter("p").format(record('new\nline "quoted"', error=failure, thing=object, path={1, 2}))
    document = json.loads(line)
    assert "\n" not in line
    assert document["message"] == 'new\nline "quoted"'
    assert document["exception"].endswith("ValueError: a bug")
    assert "object" in document["thing"]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("_logging_as_it_was")
def test_everything_below_headrace_and_warnings_of_libraries_go_to_stderr(form, capsys):
    set_up(form, "info", "replica 0")
    logging.getLogger("headrace.batcher").info("ours")
    logging.getLogger("headrace.batcher").debug("too fine")
    logging.getLogger("uvicorn").info("theirs")
    logging.getLogger("uvicorn").warning("their warning")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    said = capsys.readouterr()

    assert said.out == ""
    assert [word in said.err for word in ("ours", "too fine", "theirs", "their warning", "old")] == [
        *(True, False, False, True, True)
    ]
    if form == "json":
        assert all(json.loads(line)["process"] == "replica 0" for line in said.err.splitlines())


@pytest.mark.parametrize(
    ("level", "echo", "said"),
    [("info", False, "a b"), ("info", True, "b"), ("debug", True, "a b"), ("error", True, "")],
)
@pytest.mark.usefixtures("_logging_as_it_was")
def test_what_every_replica_does_alike_is_said_by_one_unless_it_goes_wrong(level, echo, said, capsys):
    set_up("text", level, "replica 1", echo=echo)
    logging.getLogger("headrace.model_repo").info("a")
    logging.getLogger("headrace.model_repo").warning("b")
    assert " ".join(line[-1] for line in capsys.readouterr().err.splitlines()) == said
