import pytest

from headrace.errors import ModelNotFound, ModelNotReady
from model_repo.index import IndexRow
from model_repo.refusal import number, refusal

FAILED = IndexRow("m", "2", "UNAVAILABLE", "bad file")
LOADING = IndexRow("m", "3", "LOADING", "")
BROKEN = IndexRow("m", "", "UNAVAILABLE", "no config")


@pytest.mark.parametrize(
    ("version", "rows", "kind", "message"),
    [
        ("", [], ModelNotFound, "model 'm' is not found"),
        ("", [FAILED], ModelNotReady, "model 'm' is not ready: version 2 UNAVAILABLE (bad file)"),
        (
            "",
            [FAILED, LOADING],
            ModelNotReady,
            "model 'm' is not ready: version 2 UNAVAILABLE (bad file); version 3 LOADING",
        ),
        ("3", [FAILED, LOADING], ModelNotReady, "model 'm' is not ready: version 3 LOADING"),
        ("1", [FAILED, LOADING], ModelNotFound, "model 'm' has no version 1; there is 2, 3"),
        ("1", [BROKEN], ModelNotReady, "model 'm' is not ready: UNAVAILABLE (no config)"),
        ("one", [FAILED, LOADING], ModelNotFound, "model 'm' has no version 'one'; there is 2, 3"),
        ("one", [BROKEN], ModelNotReady, "model 'm' is not ready: UNAVAILABLE (no config)"),  # it may be a label
        ("+1", [BROKEN], ModelNotFound, "model 'm' has no version '+1': a version is a number or a label"),
    ],
)
def test_refusals(version, rows, kind, message):
    error = refusal("m", version, rows)
    assert (type(error), str(error)) == (kind, message)


@pytest.mark.parametrize(
    ("version", "kind", "message"),
    [
        (
            "beta",
            ModelNotReady,
            "model 'm' is not ready: label 'beta' names version 2; version 2 UNAVAILABLE (bad file)",
        ),
        ("gone", ModelNotReady, "model 'm' is not ready: label 'gone' names version 9"),
        ("bate", ModelNotFound, "model 'm' has no version 'bate'; there is 2, 3, beta, gone"),
        ("9", ModelNotFound, "model 'm' has no version 9; there is 2, 3, beta, gone"),
    ],
)
def test_refusals_name_the_labels(version, kind, message):
    error = refusal("m", version, [FAILED, LOADING], {"beta": 2, "gone": 9})
    assert (type(error), str(error)) == (kind, message)


@pytest.mark.parametrize(
    ("text", "meant"), [("1", 1), ("007", 7), ("", None), ("+1", None), ("1_0", None), ("٣", None), ("1" * 19, None)]
)
def test_version_numbers(text, meant):
    assert number(text) == meant
