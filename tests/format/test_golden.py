"""The format is what docs/format.md says: an independent reader reads a stored file, and the same bytes are written."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelvault import Database, models
from tests.format.golden import GOLDEN, PAGE_SIZE, Thing, content, make, plain
from tests.format.reader import File, integer_key, read_record, string_component


def test_a_stored_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.modelvault"
    shutil.copy(GOLDEN, path)
    with Database.open(path, read_only=True) as db:
        db.verify()
        things = models.collection(db, Thing)
        assert {row.id: row for row in things} == content()
        assert [row.id for row in things.where("place.city", "city 4")] == list(range(-46, 50, 10))
    assert path.read_bytes() == GOLDEN.read_bytes()


def test_the_same_bytes_are_written(tmp_path: Path) -> None:
    """If this fails, the format has changed: earlier files must still be read, and docs/format.md say how."""
    path = tmp_path / "golden.modelvault"
    make(path)
    assert pages_of(path) == pages_of(GOLDEN)


def pages_of(path: Path) -> bytes:
    """The pages in use; what lies behind them is room that the file system may grant or not."""
    data = path.read_bytes()
    return data[: File(data).meta.page_count * PAGE_SIZE]


def test_a_reader_written_from_the_document_agrees() -> None:
    file = File(GOLDEN.read_bytes())
    definitions, roots = file.catalog()
    [definition] = definitions.values()
    schema = definition["schemas"][-1]
    assert (definition["name"], definition["id"], schema["primary"], schema["version"]) == ("things", 1, "id", 1)
    rows = {}
    for key, record in file.tree(roots[definition["tree"]][0]):
        version, row = read_record(schema["fields"], record)
        assert version == 1
        assert integer_key(key) == (row["id"], len(key))
        rows[row["id"]] = row
    assert rows == {key: plain(row) for key, row in content().items()}
    assert len(rows) == roots[definition["tree"]][1]


def test_the_document_describes_the_indexes() -> None:
    file = File(GOLDEN.read_bytes())
    definitions, roots = file.catalog()
    [definition] = definitions.values()
    found = {}
    for name, tree in definition["indexes"]:
        pairs = set()
        for entry, value in file.tree(roots[tree][0]):
            assert (entry[0], value) == (1, b"")
            text, size = string_component(entry[1:])
            pairs.add((text, integer_key(entry[1 + size :])[0]))
        assert len(pairs) == roots[tree][1]
        found[name] = pairs
    rows = content().values()
    assert found == {
        "name_idx": {(row.name, row.id) for row in rows},
        "place.city_idx": {(row.place.city, row.id) for row in rows},
        "tags_idx": {(tag, row.id) for row in rows for tag in row.tags},
    }


def test_every_page_is_accounted_for() -> None:
    file = File(GOLDEN.read_bytes())
    _, roots = file.catalog()
    for ref, entries in roots.values():
        assert sum(1 for _ in file.tree(ref)) == entries
    free = file.free()
    assert sorted({*file.used, *free}) == list(range(file.meta.page_count))
    assert not set(file.used) & set(free)
    assert len(free) == len(set(free)) == file.meta.free_pages > 0


def test_the_log_has_what_the_trees_do_not(tmp_path: Path) -> None:
    """A file as a crash leaves it: trees and log together are what was committed, also when the log has gone round."""
    path = tmp_path / "open.modelvault"
    with Database.open(str(path), page_size=PAGE_SIZE) as db:
        things = models.collection(db, Thing)
        expected = {}
        for number in range(400):
            row = content()[1].model_copy(update={"id": number, "name": f"{number} " * (number % 50 + 1)})
            things.insert(row)
            expected[number] = plain(row)
            if number == 350:
                db.checkpoint()  # so that none is being stored when the file is read
            if number % 3 == 0:
                things.delete(number)
                del expected[number]
        file = File(path.read_bytes())
    definitions, roots = file.catalog()
    [definition] = definitions.values()
    records = dict(file.tree(roots[definition["tree"]][0]))
    for changes in file.log():
        for tree, key, value in changes:
            if tree == definition["tree"] and value is not None:
                records[key] = value
            elif tree == definition["tree"]:
                del records[key]
    fields = definition["schemas"][-1]["fields"]
    assert {row["id"]: row for row in (read_record(fields, record)[1] for record in records.values())} == expected
