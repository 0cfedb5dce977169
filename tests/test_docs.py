"""The snippets of the documentation run, and print what they say.

The Python blocks of a page are one program. `# -> text` behind a print is what it prints.
`python -m tests.test_docs FOLDER` writes the programs there, for type checkers.
"""

import re
import sys
import warnings
from pathlib import Path

import pytest

from modelvault import _job, _queue, query, rules

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("[is]*.md")), *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def program(page: Path) -> str:
    """The page's Python blocks, each on the lines where it stands."""
    text = page.read_text(encoding="utf-8")
    code, line = "", 0
    for block in BLOCK.finditer(text):
        start = text.count("\n", 0, block.start(1))
        code += "\n" * (start - line) + block[1]
        line = start + block[1].count("\n")
    return code


def strict(code: str) -> str:
    """The program with a word to pyright in its first line, which is empty: pages do not begin with code.

    Not where it uses a library that has no types of its own.
    """
    return code if re.search("import (pandas|pyarrow)", code) else "# pyright: strict" + code


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if program(page)], ids=name)
def test_the_snippets_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = program(page)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, str(page), "exec", dont_inherit=True), {"__name__": f"docs_{page.stem}"})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# -> (.*)", code)


def test_the_limits_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE))
    for what, limit in {
        "fields of one object": rules.MAX_FIELDS,
        "indexes of a collection": rules.MAX_INDEXES,
        "members of a union": rules.MAX_MEMBERS,
        "values of an enum or literal": rules.MAX_VALUES,
        "a name": rules.MAX_NAME,
        "types inside types, in a model": rules.MAX_DEPTH,
        "rows that `limit()` asks for": query.LIMIT,
        "statements committed together": _queue.GROUP,
        "schemas of a collection since it was last written anew": _job.MAX_VERSION,
    }.items():
        assert rows[what].startswith(f"{limit:,}"), what
    assert f"{_queue.TIMEOUT:g} s" in rows["waiting for the writer's turn"]


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=name)
def test_the_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_navigation() -> None:
    """Of mkdocs.yml, and it names no other: `make docs` takes long, so it is told here too."""
    _, nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")
    listed = re.findall(r"- (?:[^:\n]+: )?([\w./-]+\.md)$", nav, re.MULTILINE)
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (folder / f"{page.stem.replace('-', '_').replace('.', '_')}_snippets.py").write_text(strict(program(page)))
