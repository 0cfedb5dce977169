"""Leaf and branch pages: searching, changing and dividing the bytes of a slotted page.

What is found in a page is trusted here: who loads a page from a file calls node_validate once, and every function below
keeps what it checks. The first cell of a branch has no key: it is written with an empty suffix and never compared.

Most changes happen in place (node_insert, node_replace, node_remove). Where there is no room in one piece, where a key does not
share the prefix, and where pages divide or join, the cells are listed as an array of Cell and written anew (fill).
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from modelvault._core.format cimport (
    BRANCH, LEAF, META_COUNT, PAGE_COUNT, PAGE_GARBAGE, PAGE_HEAP, PAGE_LEVEL, PAGE_PREFIX, PAGE_SLOTS, PAGE_TYPE,
    REF_SIZE, SLOT_SIZE, Ref,
)

cdef enum:
    # What node_validate finds; texts in node_damage.
    SOUND = 0
    BAD_TYPE = 1
    BAD_COUNT = 2
    BAD_HEAP = 3
    BAD_CELL = 4
    BAD_ORDER = 5
    BAD_HEAD = 6
    BAD_REF = 7
    BAD_GARBAGE = 8

    PAGE_ZERO = 30
    NUMBER_BITS = 46            # so that the place of a page in the file, in bytes, is a number that the system takes


# Reading

cdef inline uint32_t head_of(const unsigned char* p, size_t size) noexcept nogil:
    """The first four bytes as a big-endian number, padded with zeros."""
    if size >= 4:
        return (<uint32_t> p[0] << 24) | (<uint32_t> p[1] << 16) | (<uint32_t> p[2] << 8) | p[3]
    if size == 3:
        return (<uint32_t> p[0] << 24) | (<uint32_t> p[1] << 16) | (<uint32_t> p[2] << 8)
    if size == 2:
        return (<uint32_t> p[0] << 24) | (<uint32_t> p[1] << 16)
    return <uint32_t> p[0] << 24 if size else 0


cdef inline const unsigned char* suffix_at(const unsigned char* data, const Slot* slot) noexcept nogil:
    cdef const unsigned char* p = data + slot.offset
    if data[PAGE_LEVEL]:
        return p + REF_SIZE
    while p[0] & 0x80:
        p += 1
    return p + 1


cdef inline int compare_suffix(
        const unsigned char* data, const Slot* slot, uint32_t head, const unsigned char* key, size_t size) noexcept nogil:
    """A cell's suffix against the rest of a key whose head is `head`: negative, 0 or positive."""
    cdef size_t shorter
    cdef int order
    if slot.head != head:
        return 1 if slot.head > head else -1
    shorter = min(<size_t> slot.length, size)
    if shorter > 4:
        order = memcmp(suffix_at(data, slot) + 4, key + 4, shorter - 4)
        if order:
            return order
    return (slot.length > size) - (slot.length < size)


cdef inline size_t lower_bound(const Slot* slots, size_t low, size_t high, uint32_t head) noexcept nogil:
    """The first of slots[low:high] whose head is >= `head`, or `high`.

    A guess by proportion comes first: the keys of a page are often spread evenly (numbers, uuids), and every look at a far
    slot of a page that is not in the processor's cache costs as much as all the rest. The last steps have no branches.
    """
    cdef size_t step = 4, guess
    if low == high or slots[low].head >= head:
        return low
    if slots[high - 1].head < head:
        return high
    guess = low + <size_t> (
        <double> (head - slots[low].head) * <double> (high - 1 - low) / <double> (slots[high - 1].head - slots[low].head))
    if slots[guess].head < head:
        low = guess
        while low + step < high and slots[low + step].head < head:
            low += step
            step *= 2
        high = min(high, low + step + 1)
    else:
        high = guess + 1
        while low + step < high and slots[high - 1 - step].head >= head:
            high -= step
            step *= 2
        if low + step < high:
            low = high - 1 - step
    low += 1
    while high - low > 1:
        step = (high - low) >> 1
        guess = -<size_t> (slots[low + step - 1].head < head)
        low += step & guess
        high -= step & ~guess
    return low


cdef size_t node_search(
        const unsigned char* data, size_t page_size, const unsigned char* key, size_t size, bint* found) noexcept nogil:
    """The index of the first cell whose key is >= `key` (the first cell of a branch counts as below everything)."""
    cdef const Slot* slots = node_slots(data)
    cdef size_t count = node_count(data), prefix = node_prefix(data)
    cdef size_t low = 0 if data[PAGE_LEVEL] == 0 else 1
    cdef size_t high, middle
    cdef uint32_t head
    cdef int order
    found[0] = False
    if prefix:
        order = memcmp(key, data + page_size - prefix, min(prefix, size))
        if order or size < prefix:
            return count if order > 0 else low
        key += prefix
        size -= prefix
    head = head_of(key, size)
    low = lower_bound(slots, low, count, head)
    if low == count or slots[low].head != head:
        return low
    order = compare_suffix(data, &slots[low], head, key, size)
    if order >= 0:
        found[0] = order == 0
        return low
    low += 1
    high = count
    while low < high:           # among equal heads
        middle = low + (high - low) // 2
        order = compare_suffix(data, &slots[middle], head, key, size)
        if order == 0:
            found[0] = True
            return middle
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef const unsigned char* node_suffix(const unsigned char* data, size_t index) noexcept nogil:
    """Where the suffix of a cell stands; its length is in the slot."""
    return suffix_at(data, node_slots(data) + index)


cdef int node_compare(
        const unsigned char* data, size_t page_size, size_t index, const unsigned char* key, size_t size) noexcept nogil:
    """The key of a cell against `key`: negative, 0 or positive."""
    cdef size_t prefix = node_prefix(data)
    cdef int order = 0
    if prefix:
        order = memcmp(data + page_size - prefix, key, min(prefix, size))
        if order or size < prefix:
            return order if order else 1
    return compare_suffix(data, node_slots(data) + index, head_of(key + prefix, size - prefix), key + prefix, size - prefix)


cdef void node_read(const unsigned char* data, size_t page_size, size_t index, Cell* cell) noexcept nogil:
    """Describe a cell of a page."""
    cdef const Slot* slot = node_slots(data) + index
    cell.prefix_size = node_prefix(data)
    cell.prefix = data + page_size - cell.prefix_size
    cell.suffix_size = slot.length
    if data[PAGE_LEVEL]:
        cell.tag = 0
        cell.payload = data + slot.offset
        cell.payload_size = REF_SIZE
        cell.suffix = cell.payload + REF_SIZE
        if index == 0:
            cell.prefix_size = 0
            cell.suffix_size = 0
    else:
        cell.suffix = read_varint(data + slot.offset, &cell.tag)
        cell.payload = cell.suffix + slot.length
        cell.payload_size = REF_SIZE if cell.tag & 1 else cell.tag >> 1


cdef inline size_t varint_size(uint64_t value) noexcept nogil:
    cdef size_t size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


cdef size_t node_cell_size(const unsigned char* data, size_t index) noexcept nogil:
    """Bytes of a cell, without its slot."""
    cdef const Slot* slot = node_slots(data) + index
    cdef uint64_t tag
    if data[PAGE_LEVEL]:
        return REF_SIZE + slot.length
    read_varint(data + slot.offset, &tag)
    return varint_size(tag) + slot.length + (REF_SIZE if tag & 1 else tag >> 1)


# Validating

cdef int node_validate(const unsigned char* data, size_t page_size, bint drafts) noexcept nogil:
    """0 if every other function here may trust the page, else what is wrong with it. drafts: refs may name drafts."""
    cdef size_t count = node_count(data), prefix = node_prefix(data), heap = node_heap(data)
    cdef size_t end = page_size - prefix, total = 0, size, i
    cdef const Slot* slots = node_slots(data)
    cdef int code
    if data[PAGE_TYPE] != (BRANCH if data[PAGE_LEVEL] else LEAF) or data[PAGE_LEVEL] > MAX_LEVEL:
        return BAD_TYPE
    if count == 0 or data[PAGE_ZERO] or data[PAGE_ZERO + 1]:
        return BAD_COUNT
    if prefix > key_limit(page_size) or heap > end or heap < PAGE_SLOTS + SLOT_SIZE * count:
        return BAD_HEAP
    for i in range(count):
        if slots[i].offset < heap or prefix + slots[i].length > key_limit(page_size):
            return BAD_CELL
        if data[PAGE_LEVEL]:
            code = branch_damage(data, end, slots + i, drafts, &size)
        else:
            code = leaf_damage(data, end, slots + i, drafts, &size)
        if code == SOUND:
            code = key_damage(data, i)
        if code:
            return code
        total += size
    if total + node_garbage(data) != end - heap:
        return BAD_GARBAGE
    return SOUND


cdef int branch_damage(
        const unsigned char* data, size_t end, const Slot* slot, bint drafts, size_t* size) noexcept nogil:
    """What is wrong with one cell of a branch; its size."""
    size[0] = REF_SIZE + slot.length
    if slot.offset + size[0] > end:
        return BAD_CELL
    return ref_damage(data + slot.offset, drafts)


cdef int leaf_damage(
        const unsigned char* data, size_t end, const Slot* slot, bint drafts, size_t* size) noexcept nogil:
    """What is wrong with one cell of a leaf; its size."""
    cdef const unsigned char* p = data + slot.offset
    cdef size_t length = 1
    cdef uint64_t tag
    while slot.offset + length <= end and p[length - 1] & 0x80 and length < 5:
        length += 1
    if slot.offset + length > end or p[length - 1] & 0x80:
        return BAD_CELL
    read_varint(p, &tag)
    if varint_size(tag) != length or tag >> 1 > MAX_VALUE:
        return BAD_CELL
    size[0] = length + slot.length + (REF_SIZE if tag & 1 else tag >> 1)
    if slot.offset + size[0] > end:
        return BAD_CELL
    return ref_damage(p + length + slot.length, drafts) if tag & 1 else SOUND


cdef int ref_damage(const unsigned char* p, bint drafts) noexcept nogil:
    """Whether a ref could name a page of the file, or a draft if that is allowed."""
    cdef Ref ref
    memcpy(&ref, p, REF_SIZE)
    if drafts and ref.number >> 63:
        return SOUND
    return BAD_REF if ref.number < META_COUNT or ref.number >> NUMBER_BITS else SOUND


cdef int key_damage(const unsigned char* data, size_t index) noexcept nogil:
    """Whether a cell's head is that of its suffix, and its key greater than the one before."""
    cdef const Slot* slot = node_slots(data) + index
    cdef const unsigned char* suffix
    if index == 0 and data[PAGE_LEVEL]:
        return SOUND
    suffix = suffix_at(data, slot)
    if slot.head != head_of(suffix, slot.length):
        return BAD_HEAD
    if index > (1 if data[PAGE_LEVEL] else 0) and compare_suffix(data, slot - 1, slot.head, suffix, slot.length) >= 0:
        return BAD_ORDER
    return SOUND


cdef str node_damage(int code):
    """What a code of node_validate means, to follow "page N is damaged: "."""
    return {
        BAD_TYPE: "it is no page of a tree",
        BAD_COUNT: "its count of cells is impossible",
        BAD_HEAP: "its cells and its prefix do not fit into it",
        BAD_CELL: "a cell reaches beyond its place",
        BAD_ORDER: "its keys are out of order",
        BAD_HEAD: "the head of a slot is not that of its key",
        BAD_REF: "it refers to an impossible page",
        BAD_GARBAGE: "its cells do not add up to its heap",
    }[code]


# Changing in place

cdef inline bint is_blank(const unsigned char* data, size_t index) noexcept nogil:
    """Whether the cell at this index has no key."""
    return index == 0 and data[PAGE_LEVEL] != 0


cdef inline void set_count(unsigned char* data, size_t count) noexcept nogil:
    (<uint16_t*> (data + PAGE_COUNT))[0] = <uint16_t> count


cdef inline void set_heap(unsigned char* data, size_t heap) noexcept nogil:
    (<uint32_t*> (data + PAGE_HEAP))[0] = <uint32_t> heap


cdef inline void set_garbage(unsigned char* data, size_t garbage) noexcept nogil:
    (<uint32_t*> (data + PAGE_GARBAGE))[0] = <uint32_t> garbage


cdef inline unsigned char* write_varint(unsigned char* p, uint64_t value) noexcept nogil:
    while value > 0x7F:
        p[0] = <uint8_t> (value | 0x80)
        value >>= 7
        p += 1
    p[0] = <uint8_t> value
    return p + 1


cdef inline size_t key_size(const Cell* cell) noexcept nogil:
    return cell.prefix_size + cell.suffix_size


cdef inline size_t fixed_size(bint leaf, const Cell* cell) noexcept nogil:
    """Bytes that a cell takes besides its key, with its slot."""
    return SLOT_SIZE + cell.payload_size + (varint_size(cell.tag) if leaf else 0)


cdef inline unsigned char* write_key(unsigned char* p, const Cell* cell, size_t skip) noexcept nogil:
    """Write a key without its first `skip` bytes; where it ends."""
    if skip < cell.prefix_size:
        memcpy(p, cell.prefix + skip, cell.prefix_size - skip)
        p += cell.prefix_size - skip
        skip = cell.prefix_size
    memcpy(p, cell.suffix + (skip - cell.prefix_size), key_size(cell) - skip)
    return p + (key_size(cell) - skip)


cdef void add_cell(unsigned char* data, size_t index, const Cell* cell) noexcept nogil:
    """Put a cell at `index`. There is room between slots and heap, and its key begins with the page's prefix."""
    cdef Slot* slot = node_slots(data) + index
    cdef size_t count = node_count(data)
    cdef bint leaf = node_is_leaf(data)
    cdef size_t skip = key_size(cell) if is_blank(data, index) else node_prefix(data)
    cdef size_t length = key_size(cell) - skip
    cdef size_t offset = node_heap(data) - (fixed_size(leaf, cell) - SLOT_SIZE + length)
    cdef unsigned char* p = data + offset
    cdef unsigned char* suffix
    if leaf:
        suffix = write_varint(p, cell.tag)
        p = write_key(suffix, cell, skip)
        memcpy(p, cell.payload, cell.payload_size)
    else:
        memcpy(p, cell.payload, REF_SIZE)
        suffix = p + REF_SIZE
        write_key(suffix, cell, skip)
    memmove(slot + 1, slot, (count - index) * SLOT_SIZE)
    slot.head = head_of(suffix, length)
    slot.offset = <uint16_t> offset
    slot.length = <uint16_t> length
    set_heap(data, offset)
    set_count(data, count + 1)


cdef void node_remove(unsigned char* data, size_t index) noexcept nogil:
    """Take a cell out. The next one of a branch loses its key if it becomes the first."""
    cdef Slot* slot = node_slots(data) + index
    cdef size_t count = node_count(data)
    cdef size_t size = node_cell_size(data, index)
    if slot.offset == node_heap(data):
        set_heap(data, slot.offset + size)
    else:
        set_garbage(data, node_garbage(data) + size)
    memmove(slot, slot + 1, (count - index - 1) * SLOT_SIZE)
    set_count(data, count - 1)
    if count > 1 and is_blank(data, index):
        set_garbage(data, node_garbage(data) + slot.length)
        slot.head = 0
        slot.length = 0


cdef bint node_replace(
        unsigned char* data, size_t index, uint64_t tag, const unsigned char* payload, size_t payload_size) noexcept nogil:
    """Write another value over that of a leaf cell if it takes no more room; whether it did."""
    cdef Slot* slot = node_slots(data) + index
    cdef size_t old = node_cell_size(data, index)
    cdef size_t new = varint_size(tag) + slot.length + payload_size
    cdef unsigned char* p = data + slot.offset
    if new > old:
        return False
    memmove(p + varint_size(tag), suffix_at(data, slot), slot.length)
    p = write_varint(p, tag) + slot.length
    memcpy(p, payload, payload_size)
    set_garbage(data, node_garbage(data) + old - new)
    return True


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


cdef int node_insert(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """Put a cell at `index` (of a branch: not the first): 1 done, 0 there is no room, -1 no memory."""
    cdef size_t prefix = node_prefix(data)
    cdef size_t room = node_heap(data) - PAGE_SLOTS - SLOT_SIZE * node_count(data)
    cdef size_t size = fixed_size(node_is_leaf(data), cell) + key_size(cell)
    cdef bint keyed = node_count(data) > (1 if data[PAGE_LEVEL] else 0)
    if size <= room + prefix and keyed and begins_with(cell, data + page_size - prefix, prefix):
        add_cell(data, index, cell)
        return 1
    return rewrite(data, page_size, index, cell)


cdef inline bint begins_with(const Cell* cell, const unsigned char* prefix, size_t size) noexcept nogil:
    cdef size_t first = min(size, cell.prefix_size)
    return (key_size(cell) >= size and memcmp(cell.prefix, prefix, first) == 0
            and memcmp(cell.suffix, prefix + first, size - first) == 0)


# Lists of cells: rewriting, dividing and joining pages

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


cdef struct Measure:
    # Of a page: bytes besides keys, bytes of all keys, their number, and what they share.
    size_t fixed
    size_t keys
    size_t count
    size_t prefix


cdef inline void measure_key(Measure* measure, const Cell* cell, const Cell* neighbour) noexcept nogil:
    measure.prefix = key_size(cell) if measure.count == 0 else min(measure.prefix, shared(cell, neighbour))
    measure.keys += key_size(cell)
    measure.count += 1


cdef inline size_t measured(const Measure* measure) noexcept nogil:
    """Bytes behind the header of a page."""
    if measure.count == 0:
        return measure.fixed
    return measure.fixed + measure.keys - (measure.count - 1) * measure.prefix


cdef inline void measure_next(Measure* measure, bint leaf, const Cell* cells, size_t i) noexcept nogil:
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
    memset(data + PAGE_TYPE, 0, page_size - PAGE_TYPE)
    data[PAGE_TYPE] = BRANCH if level else LEAF
    data[PAGE_LEVEL] = level
    (<uint16_t*> (data + PAGE_PREFIX))[0] = <uint16_t> prefix
    set_heap(data, page_size - prefix)
    for i in range(prefix):
        data[page_size - prefix + i] = key_byte(cells + first, i)
    for i in range(count):
        add_cell(data, i, cells + i)


cdef bint refill(unsigned char* data, size_t page_size, uint8_t level, const Cell* cells, size_t count) noexcept nogil:
    """Write a page anew from cells that may lie in it; False: no memory."""
    cdef unsigned char* scratch = <unsigned char*> PyMem_RawMalloc(page_size)
    if scratch == NULL:
        return False
    fill(scratch, page_size, level, cells, count)
    memcpy(data + PAGE_TYPE, scratch + PAGE_TYPE, page_size - PAGE_TYPE)
    PyMem_RawFree(scratch)
    return True


cdef int rewrite(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """node_insert with a new prefix and without garbage."""
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


cdef int node_split(
        unsigned char* left, unsigned char* right, size_t page_size, size_t index, const Cell* cell, bint first, bint last,
        unsigned char* separator, size_t* separator_size) noexcept nogil:
    """Divide a page and a cell to be put at `index` between it and an empty one: 1 done, 0 impossible, -1 no memory.

    first, last: the page has no neighbour on that side. Keys that come in order leave full pages behind: at the edge of
    the tree the new cell alone opens the next page; elsewhere one sixteenth moves along, so that the pattern ends if it was none.
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
    """Write the cells of two neighbours into `first` (1), or evenly into `first` and `second` (2); 0 impossible, -1 no memory.

    between: for branches, the key that the parent has for `right` (only its key is read). `first` may be one of the neighbours;
    `second`, which may be NULL, is none of them and is filled, with a separator, for result 2.
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
