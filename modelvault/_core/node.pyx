"""Leaf and branch pages: searching, changing and dividing the bytes of a slotted page.

What is found in a page is trusted here: who loads a page from a file calls node_validate once, and every function below
keeps what it checks. The first cell of a branch has no key: it is written with an empty suffix and never compared.

Changes here happen in place. cells.pyx has those that write a page anew.
"""

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
        const unsigned char* data, const Slot* slot, uint32_t head, const unsigned char* key,
        size_t size) noexcept nogil:
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

    A guess by proportion comes first: the keys of a page are often spread evenly (numbers, uuids), and a look at a far
    slot that is not in the processor's cache costs as much as all the rest. Simulated with a cache of 1 MiB, a find
    among a million integers misses it 4.7 times instead of 8.1 (decimal text: 10 instead of 8.3). The last
    steps have no branches.
    """
    cdef size_t step = 4, guess
    cdef double share
    if low == high or slots[low].head >= head:
        return low
    if slots[high - 1].head < head:
        return high
    share = <double> (head - slots[low].head) / <double> (slots[high - 1].head - slots[low].head)
    guess = low + <size_t> (share * <double> (high - 1 - low))
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
        const unsigned char* data, size_t page_size, size_t index, const unsigned char* key,
        size_t size) noexcept nogil:
    """The key of a cell against `key`: negative, 0 or positive."""
    cdef size_t prefix = node_prefix(data)
    cdef int order = 0
    if prefix:
        order = memcmp(data + page_size - prefix, key, min(prefix, size))
        if order or size < prefix:
            return order if order else 1
    key += prefix
    size -= prefix
    return compare_suffix(data, node_slots(data) + index, head_of(key, size), key, size)


cdef bint node_begins(
        const unsigned char* data, size_t page_size, size_t index, const unsigned char* key,
        size_t size) noexcept nogil:
    """Whether the key of a cell begins with these bytes."""
    cdef const Slot* slot = node_slots(data) + index
    cdef size_t prefix = node_prefix(data)
    if memcmp(data + page_size - prefix, key, min(prefix, size)):
        return False
    if size <= prefix:
        return True
    return slot.length >= size - prefix and memcmp(suffix_at(data, slot), key + prefix, size - prefix) == 0


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


cdef inline unsigned char* write_key(unsigned char* p, const Cell* cell, size_t skip) noexcept nogil:
    """Write a key without its first `skip` bytes; where it ends."""
    if skip < cell.prefix_size:
        memcpy(p, cell.prefix + skip, cell.prefix_size - skip)
        p += cell.prefix_size - skip
        skip = cell.prefix_size
    memcpy(p, cell.suffix + (skip - cell.prefix_size), key_size(cell) - skip)
    return p + (key_size(cell) - skip)


cdef void node_clear(unsigned char* data, size_t page_size, uint8_t level, size_t prefix) noexcept nogil:
    """Begin a page anew: no cells, zeros, and room for a prefix at the end."""
    memset(data + PAGE_TYPE, 0, page_size - PAGE_TYPE)
    data[PAGE_TYPE] = BRANCH if level else LEAF
    data[PAGE_LEVEL] = level
    (<uint16_t*> (data + PAGE_PREFIX))[0] = <uint16_t> prefix
    set_heap(data, page_size - prefix)


cdef void node_add(unsigned char* data, size_t index, const Cell* cell) noexcept nogil:
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


cdef inline bint begins_with(const Cell* cell, const unsigned char* prefix, size_t size) noexcept nogil:
    cdef size_t first = min(size, cell.prefix_size)
    return (key_size(cell) >= size and memcmp(cell.prefix, prefix, first) == 0
            and memcmp(cell.suffix, prefix + first, size - first) == 0)


cdef bint node_insert(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil:
    """Put a cell at `index` (of a branch: not the first) if there is room and its key has the prefix; whether it was.

    The first key of a page is refused: the prefix has to be chosen with it.
    """
    cdef size_t prefix = node_prefix(data)
    cdef size_t room = node_heap(data) - PAGE_SLOTS - SLOT_SIZE * node_count(data)
    cdef size_t size = fixed_size(node_is_leaf(data), cell) + key_size(cell)
    cdef bint keyed = node_count(data) > (1 if data[PAGE_LEVEL] else 0)
    if size <= room + prefix and keyed and begins_with(cell, data + page_size - prefix, prefix):
        node_add(data, index, cell)
        return True
    return False


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
        unsigned char* data, size_t index, uint64_t tag, const unsigned char* payload,
        size_t payload_size) noexcept nogil:
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
