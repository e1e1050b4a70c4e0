import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_configuration_page_is_what_the_fields_say():
    """`python docs/make_reference.py` has been run since the last change of the configuration classes."""
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (DOCS / "configuration.md").read_text() == module.page()
