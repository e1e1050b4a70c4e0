"""What a batch is taken to cost besides its run, before it is learnt."""

from server.overhead import overhead


def test_a_batch_that_is_handed_to_a_thread_costs_more_and_most_where_the_loop_has_no_other_core():
    cheap, dear = 50e-6, 5e-3
    one, more = overhead(one_core=True), overhead(one_core=False)
    assert one(1, cheap) == more(1, cheap) < more(1, dear) < one(1, dear)


def test_each_request_costs_something_too():
    besides = overhead(one_core=True)
    assert besides(64, 5e-3) > besides(1, 5e-3)
