"""What is wanted beside what the repository wants; time is passed in."""

from dataclasses import replace
from pathlib import Path

import pytest

from headrace.config import ModelConfig, SafeReload
from headrace.models import ModelId
from model_repo.found import ASLEEP, NOT_LOADED, ModelScan, Problem, Scan
from model_repo.routing import Routing
from model_repo.spec import VersionSpec
from server.pool.published import Published

PLAIN = ModelConfig()
WATCHED = ModelConfig(safe_reload=SafeReload(watch_s=10))


def specs(text, config=PLAIN):
    """`1 2b`: version 1 with fingerprint a, version 2 with b."""
    return tuple(
        VersionSpec(ModelId("m", int(word.rstrip("ab"))), Path("x"), config, word.lstrip("0123456789") or "a", {})
        for word in text.split()
    )


def model(text, config=PLAIN, **labels):
    return ModelScan(specs(text, config), (Problem("m", 9, "no file"),), Routing(labels))


def scan(text, config=PLAIN, **labels):
    return Scan({"m": model(text, config, **labels)})


def beside(published, text, now=0.0):
    found = published.beside(scan(text), now).models["m"]
    assert found.problems == (Problem("m", 9, "no file"),)
    return " ".join(f"{spec.id.version}{spec.fingerprint}" for spec in found.versions)


@pytest.mark.parametrize(
    ("last", "now_wanted", "expected"),
    [
        ("", "1", "1a"),
        ("1", "1", "1a"),
        ("1", "2", "2a 1a"),  # until 2 is published
        ("1", "1b", "1b"),  # its old files are gone
        ("1 2", "2b 3", "2b 3a 1a"),
        ("1", "", ""),  # removing is an order
    ],
)
def test_what_was_published_last_stays_wanted_until_its_successor_is(last, now_wanted, expected):
    published = Published()
    published.complete("m", model(last), 0.0)
    assert beside(published, now_wanted) == expected
    published.complete("m", model(now_wanted), 0.0)
    assert beside(published, now_wanted) == " ".join(
        word if word[-1] == "b" else f"{word}a" for word in now_wanted.split()
    )


def test_what_was_before_is_kept_for_the_time_of_the_trial_and_comes_back_within_it():
    published = Published()
    assert published.complete("m", model("1"), 0.0) is None
    assert published.complete("m", model("2", WATCHED), 5.0) == 10.0
    assert published.complete("m", model("2", WATCHED), 6.0) is None  # said twice
    assert beside(published, "2", 14.9) == "2a 1a"
    assert beside(published, "2", 15.0) == "2a"
    assert published.take_back("m", 14.9)
    assert beside(published, "2", 20.0) == "2a 1a"  # 2 is not published any more
    assert not published.take_back("m", 14.9)  # once


def test_nothing_comes_back_after_the_trial_or_if_there_was_nothing_before():
    published = Published()
    published.complete("m", model("1", WATCHED), 0.0)
    assert not published.take_back("m", 1.0)
    published.complete("m", model("2", WATCHED), 5.0)
    assert not published.take_back("m", 15.0)


def test_a_model_that_is_removed_is_forgotten():
    published = Published()
    published.complete("m", model("1"), 0.0)
    published.beside(Scan({}), 0.0)
    assert beside(published, "2") == "2a"


def test_a_model_that_is_unloaded_is_forgotten_and_one_that_sleeps_is_not():
    for reason, expected in ((NOT_LOADED, "2a"), (ASLEEP, "2a 1a")):
        published = Published()
        published.complete("m", model("1", WATCHED), 0.0)
        published.beside(Scan({"m": ModelScan(problems=(Problem("m", None, reason),))}), 0.0)
        assert beside(published, "2") == expected


def test_a_label_points_to_what_it_pointed_to_until_what_it_names_is_published():
    published = Published()
    published.complete("m", model("3", stable=3), 0.0)
    assert published.beside(scan("4", stable=4), 0.0).models["m"].routing == Routing({"stable": 3})
    assert published.beside(scan("3 4", stable=4, canary=4), 0.0).models["m"].routing == Routing(
        {"stable": 3, "canary": 4}  # which nothing pointed to before
    )
    assert published.complete("m", model("4", stable=4), 0.0) == 0.0
    assert published.beside(scan("4", stable=4), 0.0).models["m"].routing == Routing({"stable": 4})
    assert published.beside(scan("4", old=4), 0.0).models["m"].routing == Routing({"old": 4})


def test_a_model_that_slept_meanwhile_is_the_same():
    published = Published()
    published.complete("m", ModelScan(specs("1")), 0.0)
    awake = ModelScan(tuple(replace(spec, fingerprint=f"{spec.fingerprint}~2") for spec in specs("1", WATCHED)))
    assert published.complete("m", awake, 0.0) is None
    assert not published.take_back("m", 1.0)
