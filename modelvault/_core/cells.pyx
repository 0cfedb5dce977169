"""Pages written anew from lists of their cells.

That happens where there is no room in one piece, where a key does not share the prefix, and where pages divide or join.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove, memset

from modelvault._core.format cimport PAGE_LEVEL, PAGE_SLOTS, PAGE_TYPE
from modelvault._core.node cimport (
    Cell, Slot, fixed_size, is_blank, key_size, node_add, node_cell_size, node_clear, node_count, node_heap,
    node_insert, node_is_leaf, node_read, node_slots,
)


cdef inline unsigned char key_byte(const Cell* cell, size_t i) noexcept nogil:
    return cell.prefix[i] if i < cell.prefix_size else cell.suffix[i - cell.prefix_size]


cdef size_t shared(const Cell* a, const Cell* b) noexcept nogil:
    """How many bytes two keys have in common at their beginning."""
    cdef size_t end = min(key_size(a), key_size(b))
    cdef size_t i = a.prefix_size if a.prefix == b.prefix and a.prefix_size == b.prefix_size else 0
    while i < end and key_byte(a, i) == key_byte(b, i):
        i += 1
    return i


cdef int compare_cells(const Cell* a, const Cell* b) noexcept nogil:
    """The order of two keys: negative, 0 or positive."""
    cdef size_t common = shared(a, b)
    if common < key_size(a) and common < key_size(b):
        return <int> key_byte(a, common) - <int> key_byte(b, common)
    return (key_size(a) > key_size(b)) - (key_size(a) < key_size(b))


cdef bint node_in_order(
        const unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """Whether a cell put at `index` would stand between smaller and greater keys."""
    cdef Cell other
    if index > 0 and not is_blank(data, index - 1):
        node_read(data, page_size, index - 1, &other)
        if compare_cells(&other, cell) >= 0:
            return False
    if index < node_count(data):
        node_read(data, page_size, index, &other)
        return compare_cells(cell, &other) < 0
    return True


cdef Cell* list_cells(size_t count) noexcept nogil:
    """Room for `count` cells; NULL: no memory."""
    return <Cell*> PyMem_RawMalloc(count * sizeof(Cell))


cdef size_t read_cells(const unsigned char* data, size_t page_size, Cell* cells) noexcept nogil:
    """Describe all cells of a page; their count."""
    cdef size_t count = node_count(data), i
    for i in range(count):
        node_read(data, page_size, i, cells + i)
    return count


cdef Cell* read_with(const unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """All cells of a page and `cell` at `index` of them; to be freed by the caller. NULL: no memory."""
    cdef Cell* cells = list_cells(node_count(data) + 1)
    cdef size_t count
    if cells != NULL:
        count = read_cells(data, page_size, cells)
        memmove(cells + index + 1, cells + index, (count - index) * sizeof(Cell))
        cells[index] = cell[0]
    return cells


cdef inline void measure_key(Measure* measure, const Cell* cell, const Cell* neighbour) noexcept nogil:
    measure.prefix = key_size(cell) if measure.count == 0 else min(measure.prefix, shared(cell, neighbour))
    measure.keys += key_size(cell)
    measure.count += 1


cdef size_t measured(const Measure* measure) noexcept nogil:
    """Bytes behind the header of a page."""
    if measure.count == 0:
        return measure.fixed
    return measure.fixed + measure.keys - (measure.count - 1) * measure.prefix


cdef void measure_next(Measure* measure, bint leaf, const Cell* cells, size_t i) noexcept nogil:
    """Add cells[i] behind cells[:i]."""
    measure.fixed += fixed_size(leaf, cells + i)
    if leaf or i > 0:
        measure_key(measure, cells + i, cells + i - 1)


cdef size_t measure_all(bint leaf, const Cell* cells, size_t count) noexcept nogil:
    """Bytes behind the header that these cells take in one page."""
    cdef Measure measure
    cdef size_t i
    memset(&measure, 0, sizeof(Measure))
    for i in range(count):
        measure_next(&measure, leaf, cells, i)
    return measured(&measure)


cdef void fill(unsigned char* data, size_t page_size, uint8_t level, const Cell* cells, size_t count) noexcept nogil:
    """Write a page anew from cells that fit; none of them may lie in it."""
    cdef size_t first = 1 if level else 0
    cdef size_t prefix = 0, i
    if count - first == 1:
        prefix = key_size(cells + first)
    elif count > first:
        prefix = shared(cells + first, cells + count - 1)
    node_clear(data, page_size, level, prefix)
    for i in range(prefix):
        data[page_size - prefix + i] = key_byte(cells + first, i)
    for i in range(count):
        node_add(data, i, cells + i)


cdef bint refill(unsigned char* data, size_t page_size, uint8_t level, const Cell* cells, size_t count) noexcept nogil:
    """Write a page anew from cells that may lie in it; False: no memory."""
    cdef unsigned char* scratch = <unsigned char*> PyMem_RawMalloc(page_size)
    if scratch == NULL:
        return False
    fill(scratch, page_size, level, cells, count)
    memcpy(data + PAGE_TYPE, scratch + PAGE_TYPE, page_size - PAGE_TYPE)
    PyMem_RawFree(scratch)
    return True


cdef int node_place(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """Put a cell at `index`, writing the page anew if need be: 1 done, 0 there is no room, -1 no memory."""
    return 1 if node_insert(data, page_size, index, cell) else rewrite(data, page_size, index, cell)


cdef int rewrite(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """node_place with a new prefix and without garbage."""
    cdef size_t count = node_count(data) + 1
    cdef Cell* cells = read_with(data, page_size, index, cell)
    cdef int result = 0
    if cells == NULL:
        return -1
    if measure_all(node_is_leaf(data), cells, count) <= page_size - PAGE_SLOTS:
        result = 1 if refill(data, page_size, data[PAGE_LEVEL], cells, count) else -1
    PyMem_RawFree(cells)
    return result


cdef void measure_behind(bint leaf, Cell* cells, size_t count) noexcept nogil:
    """Fill in `behind` of all cells: the size of a page that begins with the cell."""
    cdef Measure measure
    cdef size_t i
    memset(&measure, 0, sizeof(Measure))
    for i in range(count - 1, 0, -1):
        measure.fixed += fixed_size(leaf, cells + i)
        if leaf:
            measure_key(&measure, cells + i, cells + i + 1)
        elif i + 1 < count:
            measure_key(&measure, cells + i + 1, cells + i + 2)
        cells[i].behind = measured(&measure)


cdef size_t choose(
        bint leaf, Cell* cells, size_t count, size_t capacity, size_t wanted, size_t sixteenths) noexcept nogil:
    """Where to divide cells into two pages: the first cell of the second; 0 if they do not fit.

    At `wanted` or one before if that is possible, else so that the first page gets about that many sixteenths of all.
    """
    cdef Measure measure
    cdef size_t target = measure_all(leaf, cells, count) * sixteenths // 16
    cdef size_t best = 0, best_distance = 0, near = 0, i, size, distance
    measure_behind(leaf, cells, count)
    memset(&measure, 0, sizeof(Measure))
    for i in range(1, count):
        measure_next(&measure, leaf, cells, i - 1)
        size = measured(&measure)
        if size > capacity:
            break
        if cells[i].behind > capacity:
            continue
        if i == wanted:
            return i
        if i + 1 == wanted:
            near = i
        distance = size - target if size > target else target - size
        if best == 0 or distance < best_distance:
            best = i
            best_distance = distance
    return near if near else best


cdef size_t write_separator(bint leaf, const Cell* cells, size_t index, unsigned char* separator) noexcept nogil:
    """The shortest key that parts cells[:index] from the rest (of a branch: the key it has); its size."""
    cdef const Cell* cell = cells + index
    cdef size_t size = key_size(cell), i
    if leaf:
        size = min(size, shared(cell - 1, cell) + 1)
    for i in range(size):
        separator[i] = key_byte(cell, i)
    return size


cdef bint ascends(const unsigned char* data, size_t index) noexcept nogil:
    """Whether the two cells before `index` were the last ones written, one after the other.

    Cells are written from the page's end downward, so the page itself remembers that keys come in order.
    """
    cdef const Slot* slots = node_slots(data)
    if index < 2 or slots[index - 1].offset != node_heap(data):
        return False
    return slots[index - 2].offset == slots[index - 1].offset + node_cell_size(data, index - 1)


cdef bint descends(const unsigned char* data) noexcept nogil:
    """Whether the first two cells were the last ones written, one after the other, downward."""
    cdef const Slot* slots = node_slots(data)
    if node_count(data) < 2 or slots[0].offset != node_heap(data):
        return False
    return slots[1].offset == slots[0].offset + node_cell_size(data, 0)


cdef bint node_in_row(const unsigned char* data, size_t index) noexcept nogil:
    """Whether a cell to be put at `index` seems to go on a row of keys that come in order."""
    return ascends(data, index) or (index == 0 and descends(data))


cdef int node_split(
        unsigned char* left, unsigned char* right, size_t page_size, size_t index, const Cell* cell,
        bint first, bint last, unsigned char* separator, size_t* separator_size) noexcept nogil:
    """Divide a page and a cell to be put at `index` between it and an empty one: 1 done, 0 impossible, -1 no memory.

    first, last: the page has no neighbour on that side. Keys that come in order leave full pages behind: at the edge of
    the tree the new cell alone opens the next page; elsewhere one sixteenth moves along, which ends the pattern if it
    was none.
    """
    cdef size_t count = node_count(left), at, wanted = 0, sixteenths = 8
    cdef uint8_t level = left[PAGE_LEVEL]
    cdef int result = 0
    cdef Cell* cells
    if ascends(left, index):
        if index < count:       # what follows the new key is of another row of keys
            wanted = index + 1
        elif last:
            wanted = count
        else:
            sixteenths = 15
    elif index == 0 and descends(left):
        wanted = 1 if first else 0
        sixteenths = 1
    cells = read_with(left, page_size, index, cell)
    if cells == NULL:
        return -1
    at = choose(level == 0, cells, count + 1, page_size - PAGE_SLOTS, wanted, sixteenths)
    if at:
        separator_size[0] = write_separator(level == 0, cells, at, separator)
        fill(right, page_size, level, cells + at, count + 1 - at)
        result = 1
        if at < count or index < count:
            result = 1 if refill(left, page_size, level, cells, at) else -1
    PyMem_RawFree(cells)
    return result


cdef int node_join(
        const unsigned char* left, const unsigned char* right, size_t page_size, const Cell* between,
        unsigned char* first, unsigned char* second, unsigned char* separator, size_t* separator_size) noexcept nogil:
    """Write the cells of two neighbours into `first`, or evenly into `first` and `second`.

    1 or 2: pages used; 0 impossible, -1 no memory. between: for branches, the key that the parent has for `right`
    (nothing else of it is read). `first` may be one of the neighbours; `second`, which may be NULL, is none of them and
    is filled, with a separator, for result 2.
    """
    cdef size_t count = node_count(left), total = count + node_count(right), at = 0
    cdef uint8_t level = left[PAGE_LEVEL]
    cdef Cell* cells = list_cells(total)
    cdef int result = 0
    if cells == NULL:
        return -1
    read_cells(left, page_size, cells)
    read_cells(right, page_size, cells + count)
    if level:
        cells[count].prefix = between.prefix
        cells[count].prefix_size = between.prefix_size
        cells[count].suffix = between.suffix
        cells[count].suffix_size = between.suffix_size
    if not joins_in_order(level == 0, cells, count, total):
        result = 0
    elif measure_all(level == 0, cells, total) <= page_size - PAGE_SLOTS:
        result = 1 if refill(first, page_size, level, cells, total) else -1
    elif second != NULL:
        at = choose(level == 0, cells, total, page_size - PAGE_SLOTS, 0, 8)
        if at:
            separator_size[0] = write_separator(level == 0, cells, at, separator)
            fill(second, page_size, level, cells + at, total - at)
            result = 2 if refill(first, page_size, level, cells, at) else -1
    PyMem_RawFree(cells)
    return result


cdef bint joins_in_order(bint leaf, const Cell* cells, size_t count, size_t total) noexcept nogil:
    """Whether cells[count - 1], cells[count] and cells[count + 1] have growing keys."""
    if (leaf or count > 1) and compare_cells(cells + count - 1, cells + count) >= 0:
        return False
    return count + 1 == total or compare_cells(cells + count, cells + count + 1) < 0
