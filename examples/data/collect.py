"""Where the two data files beside this script come from.

Needs `pip install django==5.2.8 wagtail==7.1 palmerpenguins==0.1.6`; receives their files, writes `messages.tsv` (one
message a line, one language a column: the translations of Django and Wagtail) and `penguins.csv` (the columns that the
model uses; "" where the field notes say NA). Run once: its results are committed, nothing else needs these packages.
"""

from __future__ import annotations

import csv
import gettext
import importlib.util
import re
from pathlib import Path

HERE = Path(__file__).parent
LANGUAGES = ("cs", "de", "en", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv", "tr")
LEAST_LANGUAGES = 8
CHARACTERS = range(16, 201)
NOT_PROSE = re.compile(r"""["'“„«]?(?:%\(\w+\)[sdif]|%[sdif]|\{\w*\}|<[^>]*>|&#?\w+;|https?://\S+)["'”“»]?""")
CATALOGUES = (("django", "pt"), ("wagtail", "pt_PT"))
"""Package, and the folder in which it keeps European Portuguese."""
PENGUIN_COLUMNS = {
    "species": "Species",
    "island": "Island",
    "sex": "Sex",
    "clutch_complete": "Clutch Completion",
    "bill_length_mm": "Culmen Length (mm)",
    "bill_depth_mm": "Culmen Depth (mm)",
    "flipper_mm": "Flipper Length (mm)",
    "body_mass_g": "Body Mass (g)",
}


def package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"package {name!r} is not installed")
    return Path(spec.origin).parent


def prose(message: str) -> str:
    """One line without placeholders, markup and addresses; "" if that is too short or too long to use."""
    line = " ".join(NOT_PROSE.sub(" ", message).split())
    return line if len(line) in CHARACTERS else ""


def messages(catalogue: Path) -> dict[str, str]:
    """English message -> translation, both prose."""
    with catalogue.open("rb") as stream:
        entries = vars(gettext.GNUTranslations(stream))["_catalog"]
    found = {}
    for key, translation in entries.items():
        message = prose(key.split("\x04")[-1]) if isinstance(key, str) else ""
        if message and prose(translation) and translation != message:
            found[message] = prose(translation)
    return found


def collect_messages() -> None:
    """Messages that most of the languages translate; the message itself is the English."""
    rows: dict[str, dict[str, str]] = {}
    for name, portuguese in CATALOGUES:
        for language in LANGUAGES:
            folder = portuguese if language == "pt" else language
            for catalogue in sorted(package(name).glob(f"**/locale/{folder}/LC_MESSAGES/django.mo")):
                for message, translation in messages(catalogue).items():
                    rows.setdefault(message, {"en": message})[language] = translation
    lines = ["\t".join(LANGUAGES)]
    for _, row in sorted(rows.items()):
        if len(row) >= LEAST_LANGUAGES:
            lines.append("\t".join(row.get(language, "") for language in LANGUAGES))
    (HERE / "messages.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def collect_penguins() -> None:
    """All 344 penguins, the species by the first word of its name."""
    with (package("palmerpenguins") / "data" / "penguins-raw.csv").open(encoding="utf-8", newline="") as stream:
        raw = list(csv.DictReader(stream))
    with (HERE / "penguins.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(PENGUIN_COLUMNS)
        for penguin in raw:
            values = [penguin[column] for column in PENGUIN_COLUMNS.values()]
            values[0] = values[0].split()[0]
            values[2] = values[2].lower()
            writer.writerow("" if value in ("NA", "na") else value for value in values)


if __name__ == "__main__":
    collect_messages()
    collect_penguins()
