"""The snippets of the documentation run, and print what they say.

The Python blocks of a page are one program. `# -> text` behind a print is what it prints.
`python -m tests.test_docs FOLDER` writes the programs there, for type checkers.
"""

import re
import sys
import warnings
from pathlib import Path

import pytest

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
        (folder / f"{page.stem.replace('-', '_').replace('.', '_')}_snippets.py").write_text(program(page))
