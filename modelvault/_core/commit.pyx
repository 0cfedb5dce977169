"""One commit to a file, in the order in which things reach the disk.

It is compiled so that it is one step for Python: a signal handler (Ctrl-C) runs before it or after it, never inside.
"""

from dataclasses import replace

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from modelvault._core.format cimport CATALOG_TREE, FIRST_TREE, FREE_TREE, Root
from modelvault._core.pager cimport DRAFT_SHIFT, Draft, Pager
from modelvault._core.space cimport Space
from modelvault._core.tree cimport Roots, tree_put
from modelvault._core.walk cimport tree_seal, tree_spill

from modelvault._core.meta import write_meta
from modelvault.errors import CorruptionError


def commit(Space space not None, Roots roots not None, Roots base not None, meta):
    """Make `roots` durable as the generation after `meta`, and return the new Meta.

    base: the roots of the version that the write began with. OSError: before the meta is written nothing has changed for
    anybody; after it the previous meta is put back once, without a promise that the disk obeys.
    """
    cdef Draft draft = space.draft
    cdef Pager pager = draft.pager
    changed = changed_trees(roots, base)
    space.spend_reserve = entries(roots) < entries(base)    # what deletes may still do on a full disk
    for tree in changed:
        put_root(draft, roots, tree)                # reserves the place of the final one
    space.prepare(roots)
    for tree in changed:
        tree_seal(draft, roots.at(tree))
        put_root(draft, roots, tree)
    tree_seal(draft, roots.at(CATALOG_TREE))
    space.finish(roots)
    draft.write_out()
    pager.file.sync()
    new = next_meta(meta, draft.generation, space, roots)
    try:
        write_meta(pager.file, new)
        pager.file.sync()
    except BaseException:
        restore_meta(pager.file, new, meta)
        raise
    pager.page_count = space.end
    pager.free_pages = space.free_pages
    draft.complete()
    return new


def spill(Space space not None, Roots roots not None):
    """Write the leaves of a large write to their places ahead of the commit, so that memory can be given back.

    OSError, CorruptionError: the write must be rolled back.
    """
    cdef Draft draft = space.draft
    cdef uint32_t tree
    space.supply(roots, draft.single_pages)
    for tree in range(FIRST_TREE, roots.count):
        tree_spill(draft, roots.at(tree))
    draft.write_out()


def changed_trees(Roots roots, Roots base):
    """The ids of the collections' trees whose root is not what it was."""
    cdef uint32_t tree
    return [
        tree for tree in range(FIRST_TREE, roots.count)
        if tree >= base.count or memcmp(roots.items + tree, base.items + tree, sizeof(Root)) != 0
    ]


cdef uint64_t entries(Roots roots) noexcept:
    """Of all the collections' trees together."""
    cdef uint64_t total = 0
    cdef uint32_t tree
    for tree in range(FIRST_TREE, roots.count):
        total += roots.items[tree].entries
    return total


cdef int put_root(Draft draft, Roots roots, uint32_t tree) except -1:
    """Enter a tree's root in the catalog: the same place and size each time."""
    cdef unsigned char key[5]
    key[0] = c"t"
    key[1], key[2], key[3], key[4] = tree >> 24, tree >> 16 & 0xFF, tree >> 8 & 0xFF, tree & 0xFF
    tree_put(draft, roots.at(CATALOG_TREE), key, 5, <const unsigned char*> roots.at(tree), sizeof(Root), True)
    return 0


def unpack_root(bytes value not None):
    """The root that put_root stored, as Roots takes it. CorruptionError for what cannot be one."""
    cdef Root root
    if len(value) != sizeof(Root):
        raise CorruptionError(f"the catalog is damaged: a root has {sizeof(Root)} bytes, not {len(value)}", tree=CATALOG_TREE)
    memcpy(&root, <const unsigned char*> value, sizeof(Root))
    if root.ref.number >> DRAFT_SHIFT:
        raise CorruptionError("the catalog is damaged: a root names a page that was never written", tree=CATALOG_TREE)
    return root.ref.number, root.ref.birth, root.ref.checksum, root.entries


def next_meta(meta, uint64_t generation, Space space not None, Roots roots not None):
    """The meta of the next generation, with these roots."""
    cdef Root* catalog = roots.at(CATALOG_TREE)
    cdef Root* free = roots.at(FREE_TREE)
    return replace(
        meta, generation=generation, sequence=meta.sequence + 1,
        page_count=space.end, free_pages=space.free_pages,
        catalog=(catalog.ref.number, catalog.ref.birth, catalog.ref.checksum), catalog_entries=catalog.entries,
        free=(free.ref.number, free.ref.birth, free.ref.checksum), free_entries=free.entries,
    )


def restore_meta(file, failed, meta):
    """Write the meta that holds into the slot of one whose commit failed; once, and an error here changes nothing more."""
    try:
        write_meta(file, meta, failed.generation % 2)
    except OSError:
        pass
