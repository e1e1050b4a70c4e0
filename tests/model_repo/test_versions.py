import pytest

from headrace.config import Latest
from model_repo.versions import choose, missing


@pytest.mark.parametrize(
    ("policy", "available", "chosen"),
    [
        (Latest(latest=1), [1, 2, 10], (10,)),  # by number, not by text
        (Latest(latest=2), [10, 1, 2], (2, 10)),
        (Latest(latest=5), [1, 2], (1, 2)),
        (Latest(latest=1), [], ()),
        ("all", [3, 1], (1, 3)),
        ((2, 7), [1, 2, 3], (2,)),  # 7 is missing, see below
        ((3, 1, 1), [1, 2, 3], (1, 3)),
        ((), [1], ()),
    ],
)
def test_policy_chooses_versions(policy, available, chosen):
    assert choose(policy, available) == chosen


def test_only_versions_that_are_named_can_be_missing():
    assert missing((7, 2, 9), [1, 2]) == (7, 9)
    assert missing("all", []) == ()
    assert missing(Latest(latest=3), [1]) == ()
