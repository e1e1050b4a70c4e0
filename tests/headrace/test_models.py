from headrace.models import ModelId


def test_an_id_reads_as_name_and_version():
    assert str(ModelId("digits", 3)) == "digits/3"


def test_ids_sort_by_name_then_by_number():
    ids = [ModelId("b", 1), ModelId("a", 10), ModelId("a", 9)]
    assert sorted(ids) == [ModelId("a", 9), ModelId("a", 10), ModelId("b", 1)]
