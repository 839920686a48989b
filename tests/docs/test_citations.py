"""Citations of the specification pages lead to sections that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY

SPEC = REPOSITORY / "docs" / "spec"
CODE = [
    path for top in ("silmm", "silmm_cli", "plugins", "benchmarks", "training", "tests", "docs", "examples")
    for path in sorted((REPOSITORY / top).rglob("*.py")) if path.name != "test_citations.py"
]
NUMBER = r"\d+[a-z]?(?:\.\d+)*"
CITATION = re.compile(
    rf"docs/spec/(?P<page>[\w-]+\.md)(?:`?,? (?P<numbers>{NUMBER}(?:(?:,|,? and|-) ?{NUMBER})*)|, (?P<title>[\w -]+))?"
)
BARE = re.compile(r"(?<![\w/\x22-])(?:spec/|method\.md|tiny-lmm\.md|unidet\.md|\(spec\.? \d)")
"""Ways of citing without the whole path of the page."""


def sections(page: str) -> set[str]:
    """Return the numbers and the titles of a page's headings, in lower case."""
    titles = re.findall(r"^##+ (.+)$", (SPEC / page).read_text(encoding="utf-8"), re.MULTILINE)
    names = {title.lower() for title in titles}
    names |= {title.lower().partition(":")[0].partition(" (")[0] for title in titles}
    return names | {match[0].rstrip(".") for title in titles if (match := re.match(NUMBER, title))}


def cited(text: str) -> Iterator[tuple[str, str]]:
    """Yield each page with each section of it that a text cites; an empty section is the page as a whole."""
    for match in CITATION.finditer(re.sub(r"\n\s*(?:# |\| )?", " ", text)):
        names = re.findall(NUMBER, match["numbers"] or "") or [(match["title"] or "").lower().strip()]
        for name in names:
            yield match["page"], name


def found(page: str, section: str) -> bool:
    """Say whether a page has a section; a title may be followed by the rest of its sentence."""
    if not (SPEC / page).is_file():
        return False
    known = sections(page)
    return section in {"", *known} or any(section.startswith(name) for name in known if not re.match(NUMBER, name))


def test_each_cited_section_is_in_its_page() -> None:
    """Every citation in the code, by number or by title, names a heading of its page."""
    citations = [(path, citation) for path in CODE for citation in cited(path.read_text(encoding="utf-8"))]
    assert len(citations) > 100
    assert [f"{path}: {citation}" for path, citation in citations if not found(*citation)] == []


def test_each_page_is_cited_by_its_whole_path() -> None:
    """No file of code says `spec/…`, `method.md` alone or `spec 1.4`: a reader finds docs/spec at once."""
    short = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in CODE
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if BARE.search(line)
    ]
    assert short == []


@pytest.mark.parametrize("citation", [("method.md", "step 9"), ("benchmarks.md", "1.99"), ("nowhere.md", "1")])
def test_a_section_that_has_gone_is_noticed(citation: tuple[str, str]) -> None:
    """A page, a number or a title that does not exist is noticed."""
    assert not found(*citation)


def test_all_forms_of_a_citation_are_read() -> None:
    """Lists, ranges, letters, titles and line breaks are read; what follows in the sentence is not."""
    text = "(docs/spec/benchmarks.md 1.4-2.3, 9b;\n    docs/spec/method.md,\n    step 2); docs/spec/unidet.md 10 and 11"
    assert list(cited(text)) == [
        ("benchmarks.md", "1.4"), ("benchmarks.md", "2.3"), ("benchmarks.md", "9b"), ("method.md", "step 2"),
        ("unidet.md", "10"), ("unidet.md", "11"),
    ]


def test_sources_of_the_fidelity_table_are_sections() -> None:
    """The numbers beside the benchmarks' rules are sections of docs/spec/benchmarks.md, GenEval's of geneval.md."""
    page = (REPOSITORY / "docs" / "fidelity.md").read_text(encoding="utf-8").partition("\n## The benchmarks")[2]
    count = 0
    for part in page.partition("\n## ")[0].split("\n### "):
        rows = re.findall(rf"^\| [^|]+ \| ((?:{NUMBER}(?:, )?)+) \|", part, re.MULTILINE)
        known = sections("geneval.md" if part.startswith("GenEval\n") else "benchmarks.md")
        assert {number for row in rows for number in row.split(", ")} - known == set()
        count += len(rows)
    assert count > 30
