"""Our text against prometheus_client's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from server.exposition import head, histogram, labels, simple


def parsed(text):
    (family,) = text_string_to_metric_families(text)
    return family


def test_any_label_value_is_read_as_it_was():
    value = 'a "b"\\n \n ä = {x}, y'
    family = parsed(simple("things_total", "counter", "What they are.", [(labels(model=value), 3)]))
    assert (family.type, family.documentation) == ("counter", "What they are.")
    assert family.samples[0].labels == {"model": value}
    assert family.samples[0].value == 3


def test_histogram_is_cumulative_and_ends_with_infinity_sum_and_count():
    text = head("took", "histogram", "How long.") + "".join(
        histogram("took", ["0.5", "1.0"], [1, 0, 2], labels(model="m"), 7.5)
    )
    samples = [(each.name, each.labels.get("le"), each.value) for each in parsed(text).samples]
    assert samples == [
        ("took_bucket", "0.5", 1),
        ("took_bucket", "1.0", 1),
        ("took_bucket", "+Inf", 3),
        ("took_sum", None, 7.5),
        ("took_count", None, 3),
    ]


def test_family_without_samples_is_still_announced():
    assert parsed(simple("things", "gauge", "None.", [])).samples == []
