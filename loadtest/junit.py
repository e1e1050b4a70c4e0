"""Verdicts as JUnit's XML, which CI servers show: a test case for each criterion and run."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from loadtest.criteria import Criterion
from loadtest.findings import Findings


def junit(url: str, found: Sequence[Findings], wanted: Sequence[Criterion]) -> str:
    """The file. What does not hold is a failure, with the run's troubles."""
    suite = Xml.Element("testsuite", name=f"headrace loadtest {url}")
    failures = 0
    for number, each in enumerate(found, 1):
        load = each["load"] if len(found) == 1 else f"{number}: {each['load']}"
        for criterion in wanted:
            case = Xml.SubElement(suite, "testcase", classname=load, name=criterion.text, time=f"{each['seconds']:g}")
            if not criterion.holds(each):
                failures += 1
                troubles = "\n".join((*(f"{count} x {what}" for what, count in each["what"].items()), *_doubts(each)))
                Xml.SubElement(case, "failure", message=criterion.verdict(each)).text = _printable(troubles)
    suite.set("tests", str(len(found) * len(wanted)))
    suite.set("failures", str(failures))
    Xml.indent(suite)
    return Xml.tostring(suite, "unicode", xml_declaration=True) + "\n"


def _doubts(found: Findings) -> list[str]:
    return [f"doubt: {doubt}" for doubt in found["generator"]["doubts"]]


def _printable(text: str) -> str:
    """Servers write what they like into their errors; XML does not take all of it."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
