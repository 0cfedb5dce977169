"""B+trees over pages: find, put and delete.

A change owns the pages from the root to its leaf (Draft.own): those that others may see are copied, and the copies take
their places in their parents. Copying alone changes nothing that a reader of the tree could notice, so a ColdPage on
the way down leaves the tree as it was, and the call can be repeated. What can still fail behind that point is memory,
and files whose pages are sound one by one but do not fit together: then the write has to go back to a savepoint or end.

Not here: cursors (cursor.pyx), sealing and checking whole trees (walk.pyx), the bytes of a page (node.pyx).
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from modelvault._core.cells cimport node_in_order, node_in_row, node_join, node_place, node_split
from modelvault._core.draft cimport Draft
from modelvault._core.format cimport (
    BRANCH, LEAF, OVERFLOW, PAGE_HEAP, PAGE_LEVEL, PAGE_SLOTS, PAGE_TYPE, REF_SIZE, SLOT_SIZE, Ref, Root,
)
from modelvault._core.node cimport (
    MAX_LEVEL, MAX_VALUE, Cell, branch_ref, key_limit, leaf_value, node_begins, node_cell_size, node_compare, node_count,
    node_damage, node_heap, node_read, node_remove, node_replace, node_search, node_used, node_validate,
)
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager

from modelvault.errors import ColdPage, CorruptionError, ModelVaultSchemaError

cdef enum:
    SHARED_FILL = 14            # sixteenths: how full two leaves may be that share their cells instead of being divided


# Pages

cdef Page fetch(Pager pager, const Ref* ref, int level, bint wait):
    """The page that `ref` names, its structure verified; ColdPage, CorruptionError, OSError.

    level: the one it must have, -1 for a root.
    """
    cdef Page page = pager.find(ref, wait)
    if not page.checked:
        check_page(pager, page)
    if page.data[PAGE_LEVEL] != level and level >= 0:
        raise pager.damaged(page.number, f"it has level {page.data[PAGE_LEVEL]}, its parent expects {level}")
    return page


cdef int check_page(Pager pager, Page page) except -1:
    """CorruptionError unless the page's structure is sound; done once for each load."""
    cdef int code = node_validate(page.data, pager.page_size, page.number >> DRAFT_SHIFT != 0)
    if code:
        raise pager.damaged(page.number, node_damage(code))
    page.checked = True
    return 0


cdef Page fetch_extent(Pager pager, const unsigned char* place, size_t length, bint wait):
    """The extent that the ref at `place` names, which must hold a value of `length` bytes; errors as fetch."""
    cdef Ref ref
    cdef Page page
    memcpy(&ref, place, REF_SIZE)
    page = pager.find_extent(&ref, length, wait)
    if page.data[PAGE_TYPE] != OVERFLOW or node_heap(page.data) != length or page.size < PAGE_SLOTS + length:
        raise pager.damaged(page.number, f"it does not hold a value of {length} bytes")
    return page


cdef inline Page new_node(Draft draft, uint8_t type, uint8_t level):
    cdef Page page = draft.create(type, level, draft.pager.page_size)
    page.checked = True
    return page


cdef inline Page own(Draft draft, Ref* ref, int level, bint wait):
    """fetch, for changing: `ref` then names what is returned."""
    cdef Page page
    fetch(draft.pager, ref, level, wait)
    page = draft.own(ref, wait)
    page.checked = True
    return page


cdef inline Ref draft_ref(Page page) noexcept:
    cdef Ref ref
    ref.number = page.number
    ref.birth = page.serial
    ref.checksum = 0
    return ref


cdef size_t child_index(
        const unsigned char* data, size_t page_size, const unsigned char* key, size_t size) noexcept nogil:
    """The child of a branch under which `key` belongs."""
    cdef bint found
    cdef size_t index = node_search(data, page_size, key, size, &found)
    return index if found else index - 1


# Finding

cdef Page tree_find(
        Pager pager, const Root* root, const unsigned char* key, size_t size, bint wait,
        const unsigned char** value, size_t* value_size):
    """The page that holds the value of `key`, which `value` then points to; None without such a key. Errors as fetch.

    The bytes stay as long as the page is held; those of a draft, until the write changes this tree.
    """
    cdef uint64_t tag
    cdef bint found
    cdef size_t index
    cdef Page page = tree_leaf(pager, root, key, size, wait)
    if page is None:
        return None
    index = node_search(page.data, pager.page_size, key, size, &found)
    if not found:
        return None
    value[0] = leaf_value(page.data, index, &tag)
    value_size[0] = tag >> 1
    if tag & 1:
        page = fetch_extent(pager, value[0], tag >> 1, wait)
        value[0] = page.data + PAGE_SLOTS
    return page


cdef Page tree_leaf(Pager pager, const Root* root, const unsigned char* key, size_t size, bint wait):
    """The leaf in which `key` stands if it is there; None in an empty tree. Errors as fetch."""
    cdef Ref ref = root.ref
    cdef Page page
    cdef int level
    if ref.number == 0:
        return None
    page = fetch(pager, &ref, -1, wait)
    level = page.data[PAGE_LEVEL]
    while level:
        memcpy(&ref, branch_ref(page.data, child_index(page.data, pager.page_size, key, size)), REF_SIZE)
        level -= 1
        page = fetch(pager, &ref, level, wait)
    return page


# Putting

cdef int tree_put(
        Draft draft, Root* root, const unsigned char* key, size_t size,
        const unsigned char* value, size_t value_size, bint wait) except -1:
    """Insert or replace; 1 if the key was there. ModelVaultSchemaError for a key or value that is too long.

    ColdPage leaves the tree as it was. key and value must not lie in a page of this write.
    """
    cdef size_t page_size = draft.pager.page_size, index
    cdef bint found = False
    cdef Path path
    cdef Cell cell
    cdef Ref extent
    cdef Page page
    if size > key_limit(page_size) or value_size > MAX_VALUE:
        fail_size(page_size, size, value_size)
    if root.ref.number == 0:
        plant(draft, root, &path)
    else:
        descend(draft, root, key, size, wait, &path)
    page = <Page> path.pages[path.depth - 1]
    index = node_search(page.data, page_size, key, size, &found)
    key_cell(&cell, key, size)
    cell.tag = 2 * value_size
    cell.payload = value
    cell.payload_size = value_size
    if size + value_size + 4 > (page_size - PAGE_SLOTS) // 4:
        place_value(draft, &cell, &extent)
    if found:
        drop_value(draft, page.data, index)
        if node_replace(page.data, index, cell.tag, cell.payload, cell.payload_size):
            return 1
        node_remove(page.data, index)
    insert(draft, root, &path, index, &cell)
    root.entries += not found
    return found


cdef Added tree_add(
        Draft draft, Root* root, Path* path, const unsigned char* key, size_t size, size_t alone,
        const unsigned char* value, size_t value_size, bint wait) except ADD_FAILED:
    """Put a new key; for rows of keys that come in order: a key that belongs into the leaf of the one before needs no descent.

    `path` is where the last one went, of depth 0 at first and whenever anything else has changed the tree. alone: bytes
    of the key with which no other may begin, 0 for none. Anything but ADDED leaves the tree as it was, as does ColdPage.
    """
    cdef size_t page_size = draft.pager.page_size, index
    cdef bint found = False
    cdef Added lonely
    cdef Cell cell
    cdef Ref extent
    cdef Page page
    if size > key_limit(page_size) or value_size > MAX_VALUE:
        fail_size(page_size, size, value_size)
    if root.ref.number == 0:
        plant(draft, root, path)
    elif path.depth == 0 or not leads_to(path, page_size, key, size):
        path.depth = 0
        descend(draft, root, key, size, wait, path)
    page = <Page> path.pages[path.depth - 1]
    index = node_search(page.data, page_size, key, size, &found)
    if found:
        return ADD_FOUND
    if alone:
        lonely = is_alone(path, page_size, index, key, alone)
        if lonely != ADDED:
            return lonely
    key_cell(&cell, key, size)
    cell.tag = 2 * value_size
    cell.payload = value
    cell.payload_size = value_size
    if size + value_size + 4 > (page_size - PAGE_SLOTS) // 4:
        place_value(draft, &cell, &extent)
    if insert(draft, root, path, index, &cell):
        path.depth = 0
    root.entries += 1
    return ADDED


cdef bint leads_to(const Path* path, size_t page_size, const unsigned char* key, size_t size) noexcept:
    """Whether a key belongs into the leaf at the end of a path."""
    cdef const unsigned char* data
    cdef bint above = False, below = False
    cdef size_t index
    cdef int at
    for at in range(path.depth - 2, -1, -1):
        data = (<Page> path.pages[at]).data
        index = path.index[at]
        if not below and index + 1 < node_count(data):
            if node_compare(data, page_size, index + 1, key, size) <= 0:
                return False
            below = True
        if not above and index > 0:
            if node_compare(data, page_size, index, key, size) > 0:
                return False
            above = True
        if above and below:
            return True
    return True


cdef Added is_alone(
        const Path* path, size_t page_size, size_t index, const unsigned char* key, size_t size) noexcept:
    """ADDED if no key of the tree begins with these bytes, which go to `index` of the leaf; ADD_UNSURE: ask the next leaf.

    A neighbour in another leaf can begin with them only if the separator between the two does.
    """
    cdef const unsigned char* data = (<Page> path.pages[path.depth - 1]).data
    cdef size_t count = node_count(data)
    cdef bint before = index > 0, behind = index < count
    cdef int at
    if (before and node_begins(data, page_size, index - 1, key, size)) or (
            behind and node_begins(data, page_size, index, key, size)):
        return ADD_TAKEN
    for at in range(path.depth - 2, -1, -1):
        if before and behind:
            break
        data = (<Page> path.pages[at]).data
        index = path.index[at]
        if not before and index > 0:
            before = True
            if node_begins(data, page_size, index, key, size):
                return ADD_UNSURE
        if not behind and index + 1 < node_count(data):
            behind = True
            if node_begins(data, page_size, index + 1, key, size):
                return ADD_UNSURE
    return ADDED


cdef int fail_size(size_t page_size, size_t size, size_t value_size) except -1:
    if size > key_limit(page_size):
        raise ModelVaultSchemaError(
            f"the key has {size} bytes; the limit is {key_limit(page_size)} (page size {page_size} / 4 - 64)")
    raise ModelVaultSchemaError(f"the record has {value_size} bytes; the limit is {<int> MAX_VALUE} (64 MiB)")


cdef inline void key_cell(Cell* cell, const unsigned char* key, size_t size) noexcept nogil:
    """A cell with this key."""
    cell.prefix = key
    cell.prefix_size = 0
    cell.suffix = key
    cell.suffix_size = size


cdef inline void ref_cell(Cell* cell, const unsigned char* key, size_t size, const Ref* ref) noexcept nogil:
    """A cell of a branch."""
    key_cell(cell, key, size)
    cell.tag = 0
    cell.payload = <const unsigned char*> ref
    cell.payload_size = REF_SIZE


cdef int plant(Draft draft, Root* root, Path* path) except -1:
    """Begin a tree with an empty leaf."""
    cdef Page page = new_node(draft, LEAF, 0)
    root.ref = draft_ref(page)
    path.pages[0] = <PyObject*> page
    path.depth = 1
    return 0


cdef int descend(Draft draft, Root* root, const unsigned char* key, size_t size, bint wait, Path* path) except -1:
    """Own the pages from the root to the leaf where `key` belongs."""
    cdef size_t page_size = draft.pager.page_size
    cdef Page page = own(draft, &root.ref, -1, wait)
    cdef int level = page.data[PAGE_LEVEL], depth = 0
    cdef unsigned char* place
    cdef uint64_t number
    cdef Ref ref
    while level:
        path.pages[depth] = <PyObject*> page
        path.index[depth] = child_index(page.data, page_size, key, size)
        place = branch_ref(page.data, path.index[depth])
        memcpy(&ref, place, REF_SIZE)
        number = ref.number
        level -= 1
        depth += 1
        page = own(draft, &ref, level, wait)
        if ref.number != number:
            memcpy(place, &ref, REF_SIZE)
    path.pages[depth] = <PyObject*> page
    path.depth = depth + 1
    return 0


cdef int place_value(Draft draft, Cell* cell, Ref* extent) except -1:
    """Put a cell's value into an extent unless the cell is short enough for a leaf."""
    cdef size_t page_size = draft.pager.page_size, size = cell.payload_size
    cdef size_t length = 1 + (cell.tag > 0x7F) + (cell.tag > 0x3FFF) + (cell.tag > 0x1FFFFF)
    cdef Page page
    if length + cell.suffix_size + size <= (page_size - PAGE_SLOTS) // 4:
        return 0
    page = draft.create(OVERFLOW, 0, extent_size(page_size, size))
    (<uint32_t*> (page.data + PAGE_HEAP))[0] = <uint32_t> size
    memcpy(page.data + PAGE_SLOTS, cell.payload, size)
    extent[0] = draft_ref(page)
    cell.tag |= 1
    cell.payload = <const unsigned char*> extent
    cell.payload_size = REF_SIZE
    return 0


cdef inline size_t extent_size(size_t page_size, size_t length) noexcept nogil:
    return (length + PAGE_SLOTS + page_size - 1) // page_size * page_size


cdef inline int drop_value(Draft draft, const unsigned char* data, size_t index) except -1:
    """The value of a leaf cell goes: drop its extent if it has one."""
    cdef uint64_t tag
    cdef Ref ref
    cdef const unsigned char* place = leaf_value(data, index, &tag)
    if tag & 1:
        memcpy(&ref, place, REF_SIZE)
        draft.drop(&ref, extent_size(draft.pager.page_size, tag >> 1))
    return 0


cdef int insert(Draft draft, Root* root, Path* path, size_t index, const Cell* cell) except -1:
    """Put a cell at `index` of the leaf at the end of a path; 1 if that took more than this leaf, and the path is void."""
    cdef size_t page_size = draft.pager.page_size
    cdef Page page = <Page> path.pages[path.depth - 1]
    cdef bint found
    cdef int done = node_place(page.data, page_size, index, cell)
    if not done and not node_in_row(page.data, index) and share(draft, root, path, cell.suffix_size + cell.payload_size):
        descend(draft, root, cell.suffix, cell.suffix_size, True, path)
        page = <Page> path.pages[path.depth - 1]
        index = node_search(page.data, page_size, cell.suffix, cell.suffix_size, &found)
        insert_up(draft, root, path, path.depth - 1, index, cell)
        return 1
    if done < 0:
        raise MemoryError()
    if done:
        return 0
    divide(draft, root, path, path.depth - 1, index, cell)
    return 1


cdef bint share(Draft draft, Root* root, Path* path, size_t more) except -1:
    """Let a leaf that lacks room for `more` bytes share its cells with a neighbour in memory that has some; whether it did.

    Under changes in random order leaves are four fifths full so, and two thirds full if they are always divided.
    """
    cdef size_t page_size = draft.pager.page_size, used, index
    cdef int at = path.depth - 2
    cdef Page page, neighbour, parent
    cdef Ref ref
    if at < 0:
        return False
    page, parent = <Page> path.pages[at + 1], <Page> path.pages[at]
    used = node_used(page.data, page_size) + more
    for index in (path.index[at] + 1, path.index[at] - 1):
        if index >= node_count(parent.data):        # so is that before the first one
            continue
        memcpy(&ref, branch_ref(parent.data, index), REF_SIZE)
        try:
            neighbour = fetch(draft.pager, &ref, 0, False)
        except ColdPage:
            continue
        if used + node_used(neighbour.data, page_size) <= SHARED_FILL * (page_size - PAGE_SLOTS) // 8:
            join(draft, root, path, at, index, page, neighbour)
            return True
    return False


cdef inline int insert_up(
        Draft draft, Root* root, Path* path, int at, size_t index, const Cell* cell) except -1:
    """Put a cell at `index` of path.pages[at], dividing pages upward where there is no room."""
    cdef Page page = <Page> path.pages[at]
    cdef int done = node_place(page.data, draft.pager.page_size, index, cell)
    if done < 0:
        raise MemoryError()
    return 0 if done else divide(draft, root, path, at, index, cell)


cdef int divide(Draft draft, Root* root, Path* path, int at, size_t index, const Cell* cell) except -1:
    """insert_up for a page without room."""
    cdef size_t page_size = draft.pager.page_size
    cdef unsigned char* keys = <unsigned char*> PyMem_RawMalloc(page_size // 2)
    cdef unsigned char* key = keys
    cdef Cell up = cell[0]
    cdef int done = 0
    cdef size_t size
    cdef Page page, right
    cdef Ref ref
    if keys == NULL:
        raise MemoryError()
    try:
        while True:
            page = <Page> path.pages[at]
            right = new_node(draft, page.data[PAGE_TYPE], page.data[PAGE_LEVEL])
            done = node_split(
                page.data, right.data, page_size, index, &up, at_edge(path, at, False), at_edge(path, at, True),
                key, &size)
            fail_done(done)
            ref = draft_ref(right)
            ref_cell(&up, key, size, &ref)
            key = keys if key != keys else keys + page_size // 4    # the next separator may be made from this one
            if at == 0:
                return grow(draft, root, &up)
            at -= 1
            index = path.index[at] + 1
            page = <Page> path.pages[at]
            if not node_in_order(page.data, page_size, index, &up):
                fail_done(0)
            done = node_place(page.data, page_size, index, &up)
            if done:
                return fail_done(done)
    finally:
        PyMem_RawFree(keys)


cdef inline int fail_done(int done) except -1:
    """Raise for a result of node_split and the like that is not success."""
    if done < 0:
        raise MemoryError()
    if done == 0:
        raise CorruptionError("the pages of a tree do not fit together: keys out of order")
    return 0


cdef bint at_edge(const Path* path, int at, bint last) noexcept:
    """Whether path.pages[at] is the first or the last page of its level."""
    cdef int i
    for i in range(at):
        if path.index[i] != (node_count((<Page> path.pages[i]).data) - 1 if last else 0):
            return False
    return True


cdef int grow(Draft draft, Root* root, const Cell* cell) except -1:
    """Put a new root above the old one and `cell`."""
    cdef size_t page_size = draft.pager.page_size
    cdef Page old = draft.pager.find(&root.ref, False)
    cdef Page page
    cdef Cell first
    if old.data[PAGE_LEVEL] >= MAX_LEVEL:
        raise CorruptionError(f"a tree has more than {<int> MAX_LEVEL} levels")
    page = new_node(draft, BRANCH, old.data[PAGE_LEVEL] + 1)
    ref_cell(&first, b"", 0, &root.ref)
    if node_place(page.data, page_size, 0, &first) < 0 or node_place(page.data, page_size, 1, cell) < 0:
        raise MemoryError()
    root.ref = draft_ref(page)
    return 0


# Deleting

cdef int tree_delete(Draft draft, Root* root, const unsigned char* key, size_t size, bint wait) except -1:
    """Delete; 1 if the key was there. ColdPage leaves the tree as it was.

    A page that gets less than a third full joins a neighbour, or shares its cells, if that is in memory (or `wait`).
    """
    cdef size_t page_size = draft.pager.page_size, index
    cdef const unsigned char* value
    cdef list neighbours
    cdef size_t value_size
    cdef bint found
    cdef Path path
    cdef Page page
    if not has_key(draft.pager, root, key, size, wait):
        return 0
    descend(draft, root, key, size, wait, &path)
    page = <Page> path.pages[path.depth - 1]
    index = node_search(page.data, page_size, key, size, &found)
    path.index[path.depth - 1] = index
    neighbours = None
    if shrunk(page.data, page_size, node_cell_size(page.data, index) + SLOT_SIZE):
        neighbours = gather(draft.pager, &path, wait)
    drop_value(draft, page.data, index)
    node_remove(page.data, index)
    root.entries -= 1
    return shrink(draft, root, &path, neighbours) if neighbours is not None else 1


cdef bint has_key(Pager pager, const Root* root, const unsigned char* key, size_t size, bint wait) except -1:
    """Whether the tree has the key."""
    cdef size_t page_size = pager.page_size
    cdef Ref ref = root.ref
    cdef bint found
    cdef Page page
    if ref.number == 0:
        return False
    page = fetch(pager, &ref, -1, wait)
    while page.data[PAGE_LEVEL]:
        memcpy(&ref, branch_ref(page.data, child_index(page.data, page_size, key, size)), REF_SIZE)
        page = fetch(pager, &ref, page.data[PAGE_LEVEL] - 1, wait)
    node_search(page.data, page_size, key, size, &found)
    return found


cdef inline bint shrunk(const unsigned char* data, size_t page_size, size_t loss) noexcept nogil:
    """Whether a page that loses so many bytes is less than a third full, or empty."""
    return node_used(data, page_size) < page_size // 3 + loss or node_count(data) == 1


cdef list gather(Pager pager, Path* path, bint wait):
    """What the pages of the path will join if the leaf loses its cell.

    For each page that shrinks, from the leaf upward, its neighbour, or None where the page will be empty. Ends early at
    one that is not in memory.
    """
    cdef size_t page_size = pager.page_size
    cdef int at = path.depth - 1
    cdef Page page = <Page> path.pages[at]
    cdef size_t loss = node_cell_size(page.data, path.index[at]) + SLOT_SIZE
    cdef bint empty = True
    cdef list result = []
    cdef Ref ref
    while at > 0 and shrunk(page.data, page_size, loss):
        empty = empty and node_count(page.data) == 1
        at -= 1
        if empty:
            result.append(None)
        elif node_count((<Page> path.pages[at]).data) == 1:
            break
        else:
            parent = <Page> path.pages[at]
            memcpy(&ref, branch_ref(parent.data, neighbour_index(parent.data, path.index[at])), REF_SIZE)
            try:
                result.append(fetch(pager, &ref, page.data[PAGE_LEVEL], wait))
            except ColdPage:
                break
        page = <Page> path.pages[at]
        loss = node_cell_size(page.data, path.index[at]) + SLOT_SIZE
    return result


cdef inline size_t neighbour_index(const unsigned char* data, size_t index) noexcept nogil:
    """The child of a branch (which has two) that child `index` may join."""
    return index + 1 if index + 1 < node_count(data) else index - 1


cdef int shrink(Draft draft, Root* root, Path* path, list neighbours) except -1:
    """After a removal: drop empty pages, join small ones, take a level off a root with one child; 1."""
    cdef size_t page_size = draft.pager.page_size
    cdef int at = path.depth - 1, kept = path.depth
    cdef Page page, neighbour
    cdef Ref ref
    for neighbour in neighbours:
        page = <Page> path.pages[at]
        at -= 1
        if neighbour is None:
            ref = draft_ref(page)
            draft.drop(&ref, page_size)
            node_remove((<Page> path.pages[at]).data, path.index[at])
            kept = at + 1
        elif not shrunk(page.data, page_size, 0) or not join(
                draft, root, path, at, neighbour_index((<Page> path.pages[at]).data, path.index[at]), page, neighbour):
            break
    page = <Page> path.pages[0]
    if page.number != root.ref.number:      # a join divided pages up to the root
        return 1
    if node_count(page.data) == 0:
        draft.drop(&root.ref, page_size)
        memset(&root.ref, 0, sizeof(Ref))
        return 1
    at = 1
    while page.data[PAGE_LEVEL] and node_count(page.data) == 1:
        memcpy(&ref, branch_ref(page.data, 0), REF_SIZE)
        draft.drop(&root.ref, page_size)
        root.ref = ref
        if at == kept or (<Page> path.pages[at]).number != ref.number:
            break
        page = <Page> path.pages[at]
        at += 1
    return 1


cdef bint join(Draft draft, Root* root, Path* path, int at, size_t other, Page page, Page neighbour) except -1:
    """Join `page`, the child path.index[at] of path.pages[at], with its neighbour, child `other`; whether that lost a cell.

    If both do not fit into one page they share their cells evenly.
    """
    cdef size_t page_size = draft.pager.page_size
    cdef Page parent = <Page> path.pages[at]
    cdef size_t index = path.index[at], left = min(index, other)
    cdef Ref own_ref = draft_ref(page), old_ref, new_ref
    cdef unsigned char* data = page.data if index < other else neighbour.data
    cdef unsigned char* next = neighbour.data if index < other else page.data
    cdef unsigned char* key
    cdef size_t size = 0
    cdef Page second
    cdef Cell cell
    cdef int done
    memcpy(&old_ref, branch_ref(parent.data, other), REF_SIZE)
    node_read(parent.data, page_size, left + 1, &cell)
    done = node_join(data, next, page_size, &cell, page.data, NULL, NULL, NULL)
    if done == 1:
        memcpy(branch_ref(parent.data, left), &own_ref, REF_SIZE)
        node_remove(parent.data, left + 1)
        draft.drop(&old_ref, page_size)
        return True
    second = new_node(draft, page.data[PAGE_TYPE], page.data[PAGE_LEVEL])
    new_ref = draft_ref(second)
    key = <unsigned char*> PyMem_RawMalloc(page_size // 4)
    if key == NULL:
        raise MemoryError()
    try:
        done = node_join(data, next, page_size, &cell, page.data, second.data, key, &size)
        if done <= 0:
            draft.drop(&new_ref, page_size)
            return False
        memcpy(branch_ref(parent.data, left), &own_ref, REF_SIZE)
        node_remove(parent.data, left + 1)
        draft.drop(&old_ref, page_size)
        ref_cell(&cell, key, size, &new_ref)
        if not node_in_order(parent.data, page_size, left + 1, &cell):
            fail_done(0)
        insert_up(draft, root, path, at, left + 1, &cell)
    finally:
        PyMem_RawFree(key)
    return False


# Roots

@final
cdef class Roots:
    """The roots of all trees, by tree id. Frees them when nobody refers to it any more.

    In Python a root is (page number, birth, checksum, entries); a tree that was never set is empty, all zero.
    """

    def __dealloc__(self):
        PyMem_RawFree(self.items)

    cpdef Roots copy(self):
        """Another array with the same roots."""
        cdef Roots other = Roots.__new__(Roots)
        other.grow(self.count)
        if self.count:
            memcpy(other.items, self.items, self.count * sizeof(Root))
        return other

    cdef Root* at(self, uint32_t tree) except NULL:
        """Where the root of a tree is kept, until the array grows; IndexError if it was never set."""
        if tree >= self.count:
            raise IndexError(f"no tree {tree}")
        return self.items + tree

    cdef int grow(self, size_t count) except -1:
        """Make room for trees below `count`; new ones are empty."""
        cdef size_t capacity
        cdef void* items
        if count > self.capacity:
            capacity = max(count, 2 * self.capacity, <size_t> 8)
            items = PyMem_RawRealloc(self.items, capacity * sizeof(Root))
            if items == NULL:
                raise MemoryError()
            self.items = <Root*> items
            self.capacity = capacity
        if count > self.count:
            memset(self.items + self.count, 0, (count - self.count) * sizeof(Root))
            self.count = count
        return 0

    def __len__(self):
        return self.count

    def __getitem__(self, uint32_t tree):
        return root_tuple(self.at(tree))

    def __setitem__(self, uint32_t tree, tuple root not None):
        cdef Root value = tuple_root(root)
        self.grow(<size_t> tree + 1)
        self.items[tree] = value


cdef tuple root_tuple(const Root* root):
    """A root as Python sees it."""
    return root.ref.number, root.ref.birth, root.ref.checksum, root.entries


cdef Root tuple_root(tuple root) except *:
    """The reverse of root_tuple."""
    cdef Root result
    result.ref.number, result.ref.birth, result.ref.checksum, result.entries = root
    return result
