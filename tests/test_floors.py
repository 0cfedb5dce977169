"""Imports point down only (docs/design.md, section 1), and a few things are done in one place only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelvault

PACKAGE = Path(modelvault.__file__).parent
DESIGN = PACKAGE.parent / "docs" / "design.md"

# From the ground up. A module may import from the rows below its own; `_core` has rows of its own.
ROWS = [
    ["errors", "_frozen", "_kinds", "_libraries", "_options"],
    ["_core"],
    ["types", "conditions", "_plain"],
    ["expressions", "pages", "_arrow", "_values"],
    ["specs", "partials"],
    ["fits", "rules", "conversions"],
    ["fields_json", "lineage", "members"],
    ["metadata", "converters"],
    ["annotations"],
    ["schema"],
    ["mapping", "patches"],
    ["frames", "_intake"],
    ["_definitions", "_keeper"],
    ["_committed"],
    ["_checkpoints", "_following"],
    ["_engine", "_runner", "_progress", "_ranges", "_covered", "targets"],
    ["sources"],
    ["_arguments"],
    ["groups"],
    ["query", "_queue", "_ways", "migrations", "_copying", "_compaction", "_measures"],
    ["_unit", "_prepared", "_sql"],
    ["_access"],
    ["_planner", "_fills"],
    ["_keeping"],
    ["_store", "_explain", "_backup"],
    ["_leftovers", "_search", "_verify", "_statements"],
    ["_building", "_job", "_reading", "_salvage"],
    ["_rows", "_remake", "_twins", "_portions"],
    ["_rewrite"],
    ["_change"],
    ["_repairs"],
    ["_answers", "_handle"],
    ["_selections", "_loading", "_dated"],
    ["collection"],
    ["transaction", "snapshot", "upkeep"],
    ["database", "sync_upkeep", "sync_rows"],
    ["sync_frames"],
    ["sync"],
    ["models", "dbapi"],
    ["__init__"],
    ["fastapi", "pytest_plugin", "cli"],
    ["__main__"],
]
CORE_ROWS = [
    ["__init__", "format", "xxh64", "slots", "cache", "buffer", "constraint", "drive", "waiter", "turn"],
    ["file", "meta", "codec"],
    ["text"],
    ["replacement", "pager", "scalar", "temporal", "container", "carried"],
    ["draft", "node", "keys", "anything"],
    ["cells"],
    ["tree", "objects"],
    ["cursor", "record", "lookup"],
    ["walk", "index", "route", "log"],
    ["space", "leaf", "entry", "stretch"],
    ["match", "history"],
    ["asked", "order", "columns", "cover"],
    ["program", "vector"],
    ["track"],
    ["table", "commit", "copying", "packing", "survey"],
    ["feed", "batch", "ticket"],
    ["gate", "entry_feed"],
    ["scan", "recoding", "gathering"],
    ["sorting", "aggregate", "sheet"],
]
PACKAGE_ROWS = {
    "_sql": [
        ["__init__", "errors", "terms"],
        ["functions", "names", "nodes"],
        ["values", "parse"],
        ["logic"],
        ["plan"],
        ["totals", "prepared"],
        ["run"],
    ],
    "cli": [
        ["parts", "values", "infer"],
        ["places"],
        ["output"],
        ["ask", "look", "migrate", "upkeep", "bench", "terminal"],
        ["carry", "shell"],
        ["app"],
        ["__init__"],
    ],
}

# What a module must not know, although it lies on a lower row: whoever handles bytes knows no models, a codec no files.
NAMING = {name for row in ROWS[2 : ROWS.index(["mapping", "patches"]) + 1] for name in row}
STRANGERS = {
    **{name: {"_core"} for name in NAMING},
    **dict.fromkeys(
        (
            "_definitions",
            "_keeper",
            "_committed",
            "_checkpoints",
            "_following",
            "_engine",
            "_queue",
            "_unit",
            "_access",
        ),
        NAMING,
    ),
    "_runner": NAMING,  # of the core its waiters only
    **{name: {"_core"} for name in ("sources", "_arguments", "groups", "query")},
    "pages": {"_core"},
    "expressions": {"_core"},
}
FILES = {
    "file",
    "replacement",
    "meta",
    "cache",
    "pager",
    "draft",
    "node",
    "cells",
    "tree",
    "cursor",
    "walk",
    "log",
    "space",
    "history",
    "copying",
    "packing",
    "survey",
}
CODECS = {"slots", "buffer", "constraint", "codec", "text", "scalar", "temporal", "container", "keys", "anything"}
CODECS |= {"record", "index", "route", "leaf", "match", "asked", "program", "order", "columns", "entry", "cover"}
CODECS |= {"objects", "vector", "track"}
CORE_STRANGERS = {**dict.fromkeys(CODECS, FILES), **dict.fromkeys(FILES, CODECS), "commit": CODECS}

# Who may import what; pydantic only inside functions, so that `import modelvault` stays light.
ONLY_IN = {
    "anyio": {"_runner"},
    "pydantic": {"conversions", "annotations", "mapping", "patches", "fastapi"},
    "fastapi": {"fastapi"},
    "starlette": {"fastapi"},
    "pytest": {"pytest_plugin"},
    "pyarrow": {"_arrow", "_intake"},
    "sqlglot": {"parse", "nodes"},
    **{
        library: {path.stem for path in (PACKAGE / "cli").glob("*.py")}
        for library in ("typer", "rich", "prompt_toolkit")
    },
}
SYSTEM_MODULES = {"ctypes", "fcntl", "mmap", "posix", "shutil", "tempfile"}
HARMLESS_OS = {"PathLike", "environ", "fsdecode", "fsencode", "fspath", "getpid", "path", "register_at_fork", "urandom"}
SYSTEM_HEADERS = re.compile(
    r'"(unistd|fcntl|sys/\w+)\.h"|<(unistd|fcntl|sys/\w+)\.h>|cimport\s+posix|from\s+posix|libc\.stdio'
)


def modules(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for suffix in suffixes for path in folder.glob(f"*{suffix}"))


def python_imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Every imported name, and whether it happens inside a function; what only type checkers see is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((f"{node.module}.{alias.name}", inside) for alias in node.names)
        else:
            yield from python_imports(node, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def cython_imports(text: str) -> list[str]:
    return re.findall(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", text, re.MULTILINE)


def row_of(name: str, rows: list[list[str]]) -> int:
    for number, row in enumerate(rows):
        if name in row:
            return number
    raise AssertionError(f"{name} has no floor: give it one in tests/test_floors.py and in docs/design.md")


def check(name: str, imported: set[str], rows: list[list[str]], strangers: dict[str, set[str]]) -> None:
    floor = row_of(name, rows)
    for other in sorted(imported - {name}):
        assert row_of(other, rows) < floor, f"{name} imports {other}, which does not lie below it"
        assert other not in strangers.get(name, ()), f"{name} must not know {other}"


def ours(names: Iterator[str] | list[str], prefix: str, known: set[str]) -> set[str]:
    """The modules below `prefix` among the imported names ("modelvault.schema.Type" is `schema`)."""
    found = set()
    for name in names:
        if name.startswith(prefix):
            first = name[len(prefix) :].split(".")[0]
            found.add(first if first in known else "__init__")
    return found


KNOWN = {module.stem for module in modules(PACKAGE, ".py")} | {"_core", *PACKAGE_ROWS}
PACKAGED = [path for name in PACKAGE_ROWS for path in modules(PACKAGE / name, ".py")]


@pytest.mark.parametrize("path", modules(PACKAGE, ".py"), ids=lambda path: path.stem)
def test_a_module_imports_only_from_below(path: Path) -> None:
    imports = [name for name, _ in python_imports(ast.parse(path.read_text()))]
    check(path.stem, ours(imports, "modelvault.", KNOWN), ROWS, STRANGERS)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_package_imports_only_from_below(path: Path) -> None:
    package = path.parent.name
    imports = [name for name, _ in python_imports(ast.parse(path.read_text()))]
    check(package, ours(imports, "modelvault.", KNOWN) - {package}, ROWS, STRANGERS)
    known = {module.stem for module in modules(path.parent, ".py")}
    check(path.stem, ours(imports, f"modelvault.{package}.", known), PACKAGE_ROWS[package], {})


@pytest.mark.parametrize("path", modules(PACKAGE / "_core", ".pyx", ".pxd", ".py"), ids=lambda path: path.name)
def test_the_core_imports_only_from_below_and_errors(path: Path) -> None:
    names = [first or second for first, second in cython_imports(path.read_text())]
    outside = {name for name in names if name.startswith("modelvault") and not name.startswith("modelvault._core.")}
    assert outside <= {"modelvault.errors", "modelvault._frozen", "modelvault._core"}
    known = {module.stem for module in modules(PACKAGE / "_core", ".pyx", ".pxd", ".py")}
    inside = ours([name for name in names if name not in outside], "modelvault._core.", known)
    check(path.stem, inside, CORE_ROWS, CORE_STRANGERS)


@pytest.mark.parametrize("path", modules(PACKAGE, ".py") + PACKAGED, ids=lambda path: path.stem)
def test_anyio_and_pydantic_are_imported_in_their_place(path: Path) -> None:
    for name, inside in python_imports(ast.parse(path.read_text())):
        library = name.split(".")[0]
        if library in ONLY_IN:
            assert path.stem in ONLY_IN[library], f"{path.stem} imports {library}"
            assert inside or library != "pydantic" or path.stem == "fastapi", (
                f"{path.stem} imports pydantic before anyone needs it"
            )


@pytest.mark.parametrize(
    "path",
    [path for path in modules(PACKAGE, ".py") + PACKAGED if path.parent.name != "cli"],  # which reads users' files
    ids=lambda path: path.stem,
)
def test_python_modules_make_no_system_calls(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not SYSTEM_MODULES & {name.split(".")[0] for name, _ in python_imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr in HARMLESS_OS, f"{path.stem} uses os.{node.attr}: system calls belong into _core/file"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open", f"{path.stem} opens a file: that belongs into _core/file"


@pytest.mark.parametrize("path", modules(PACKAGE / "_core", ".pyx", ".pxd"), ids=lambda path: path.name)
def test_only_file_makes_system_calls(path: Path) -> None:
    text = path.read_text()
    assert path.stem == "file" or not SYSTEM_HEADERS.search(text)
    names = [first or second for first, second in cython_imports(text)]
    assert path.stem in ("file", "replacement") or not ({"os"} | SYSTEM_MODULES) & {
        name.split(".")[0] for name in names
    }


def test_the_design_names_every_module() -> None:
    text = DESIGN.read_text()
    named = {path.stem for path in modules(PACKAGE, ".py") if path.stem != "__init__"}
    named |= {f"_core/{path.stem}" for path in modules(PACKAGE / "_core", ".pyx")}
    named |= {f"{path.parent.name}/{path.stem}" for path in PACKAGED if path.stem != "__init__"}
    named -= {"__main__"}
    missing = sorted(name for name in named if f"`{name}`" not in text and f"`{name}.pxd`" not in text)
    assert not missing, f"docs/design.md does not say what these own: {missing}"


@pytest.mark.parametrize("path", modules(PACKAGE / "_core", ".pyx"), ids=lambda path: path.name)
def test_no_import_of_the_core_is_left_over(path: Path) -> None:
    text = path.read_text()
    for found in re.finditer(r"^from [\w.]+ c?import (?:\(([^)]*)\)|([^\n(]+))\n", text, re.MULTILINE):
        names = (found[1] or found[2]).replace("\n", " ").split(",")
        rest = text.replace(found[0], "")
        for name in filter(None, map(str.strip, names)):
            assert re.search(rf"\b{name.split(' as ')[-1].strip()}\b", rest), f"{path.name} does not use {name}"
