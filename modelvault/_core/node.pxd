"""The slotted page as bytes; docs/format.md section 3. Nothing here holds an object or knows where a page lives."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from modelvault._core.format cimport (
    PAGE_COUNT, PAGE_GARBAGE, PAGE_HEAP, PAGE_LEVEL, PAGE_PREFIX, PAGE_SLOTS, SLOT_SIZE,
)


cdef enum:
    MAX_LEVEL = 32
    MAX_VALUE = 1 << 26         # bytes of a value
    KEY_RESERVE = 64            # a key has at most page_size / 4 - KEY_RESERVE bytes


cdef struct Slot:
    uint32_t head
    uint16_t offset
    uint16_t length


cdef struct Cell:
    # An entry on its way between pages; the bytes belong to somebody else. The key is prefix + suffix.
    const unsigned char* prefix
    size_t prefix_size
    const unsigned char* suffix
    size_t suffix_size
    uint64_t tag                    # leaf: value length * 2 + overflow
    const unsigned char* payload    # leaf: the value or the ref of its extent; branch: the ref of the child
    size_t payload_size
    size_t behind                   # for choosing a split: bytes of a page with this cell and all that follow


cdef inline size_t node_count(const unsigned char* data) noexcept nogil:
    return (<const uint16_t*> (data + PAGE_COUNT))[0]


cdef inline size_t node_prefix(const unsigned char* data) noexcept nogil:
    return (<const uint16_t*> (data + PAGE_PREFIX))[0]


cdef inline size_t node_heap(const unsigned char* data) noexcept nogil:
    return (<const uint32_t*> (data + PAGE_HEAP))[0]


cdef inline size_t node_garbage(const unsigned char* data) noexcept nogil:
    return (<const uint32_t*> (data + PAGE_GARBAGE))[0]


cdef inline bint node_is_leaf(const unsigned char* data) noexcept nogil:
    return data[PAGE_LEVEL] == 0


cdef inline Slot* node_slots(const unsigned char* data) noexcept nogil:
    return <Slot*> (data + PAGE_SLOTS)


cdef inline size_t key_limit(size_t page_size) noexcept nogil:
    return page_size // 4 - KEY_RESERVE


cdef inline const unsigned char* read_varint(const unsigned char* p, uint64_t* value) noexcept nogil:
    # No bounds: node_validate saw to them.
    cdef uint64_t result = p[0] & 0x7F
    cdef int shift = 7
    while p[0] & 0x80:
        p += 1
        result |= <uint64_t> (p[0] & 0x7F) << shift
        shift += 7
    value[0] = result
    return p + 1


cdef inline unsigned char* branch_ref(const unsigned char* data, size_t index) noexcept nogil:
    # Where the ref of a child stands.
    return <unsigned char*> data + node_slots(data)[index].offset


cdef inline const unsigned char* leaf_value(const unsigned char* data, size_t index, uint64_t* tag) noexcept nogil:
    # The value of a leaf cell, or the ref of its extent if tag is odd; its length is tag / 2.
    cdef const Slot* slot = node_slots(data) + index
    return read_varint(data + slot.offset, tag) + slot.length


cdef inline size_t node_used(const unsigned char* data, size_t page_size) noexcept nogil:
    # Bytes behind the header that are not free.
    return page_size - PAGE_SLOTS - (
        node_heap(data) - PAGE_SLOTS - SLOT_SIZE * node_count(data) + node_garbage(data))


cdef inline size_t varint_size(uint64_t value) noexcept nogil:
    cdef size_t size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


cdef inline bint is_blank(const unsigned char* data, size_t index) noexcept nogil:
    # Whether the cell at this index has no key.
    return index == 0 and data[PAGE_LEVEL] != 0


cdef inline size_t key_size(const Cell* cell) noexcept nogil:
    return cell.prefix_size + cell.suffix_size


cdef inline size_t fixed_size(bint leaf, const Cell* cell) noexcept nogil:
    # Bytes that a cell takes besides its key, with its slot.
    return SLOT_SIZE + cell.payload_size + (varint_size(cell.tag) if leaf else 0)


cdef size_t node_search(
    const unsigned char* data, size_t page_size, const unsigned char* key, size_t size, bint* found) noexcept nogil
cdef const unsigned char* node_suffix(const unsigned char* data, size_t index) noexcept nogil
cdef int node_compare(
    const unsigned char* data, size_t page_size, size_t index, const unsigned char* key, size_t size) noexcept nogil
cdef bint node_begins(
    const unsigned char* data, size_t page_size, size_t index, const unsigned char* key, size_t size) noexcept nogil
cdef void node_read(const unsigned char* data, size_t page_size, size_t index, Cell* cell) noexcept nogil
cdef size_t node_cell_size(const unsigned char* data, size_t index) noexcept nogil
cdef int node_validate(const unsigned char* data, size_t page_size, bint drafts) noexcept nogil
cdef str node_damage(int code)

cdef void node_clear(unsigned char* data, size_t page_size, uint8_t level, size_t prefix) noexcept nogil
cdef void node_add(unsigned char* data, size_t index, const Cell* cell) noexcept nogil
cdef bint node_insert(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil
cdef bint node_replace(
    unsigned char* data, size_t index, uint64_t tag, const unsigned char* payload, size_t payload_size) noexcept nogil
cdef void node_remove(unsigned char* data, size_t index) noexcept nogil
