"""Why, in sentences."""

from math import inf

from msgspec.structs import replace

from batcher import sentences
from batcher.decide import Dispatch, Plan, WaitUntil
from batcher.simulate import Load

PLAN = Plan(1, tuple(range(17)))
WAITS = Plan(1, tuple(range(17)), enough_rows=16, patience_s=0.0008)


def test_a_second_batch_in_flight_is_not_worth_it():
    assert sentences.in_flight(PLAN, [1, 1, 1.95]) == "1 batch in flight: 2 at once take 1.95 times as long each"
    assert sentences.in_flight(PLAN, [1, 1]) == "1 batch in flight: the executor takes one at a time"


def test_who_is_waited_for_and_who_is_not():
    assert sentences.company(PLAN, Load(opens=[0, 1])) == "nobody is waited for: arrivals do not follow answers"
    waited = "fewer than 16 rows wait for company: 0.8 ms for a client that was answered, whichever is longest"
    assert sentences.company(WAITS, Load(clients=16, thinks=[0.0005])) == waited
    promised = sentences.company(replace(WAITS, longest_s=0.05), Load(clients=16, thinks=[0.0005]))
    assert promised == f"{waited}, at most 50 ms because of the SLO"
    assert "16 clients come back 50 ms after an answer" in sentences.company(PLAN, Load(clients=16, thinks=[0.05]))


def test_what_happens_to_those_that_wait_now():
    waiting = sentences.moment(1.0, 3, 0, WaitUntil(1.0003), away=5, known=16)
    assert waiting == "3 rows waiting up to 0.3 ms more: 5 of 16 clients are away and expected"
    assert sentences.moment(1.0, 1, 2, WaitUntil(inf), 0, 0) == "1 row waiting for one of 2 batches in flight to end"
    assert sentences.moment(1.0, 2, 0, Dispatch(2, "full"), 0, 0) == "2 rows about to run (full)"
