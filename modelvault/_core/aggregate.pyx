"""Sums and groups of the rows of a scan, without building the rows.

Numbers and moments of fixed width are read where they lie and become Python objects once, in the result. Integers are added in 128
bits and so exactly; floats with the error of each addition carried along (Neumaier), so that the order of the rows hardly matters.
Everything else is read one value at a time. Groups are told apart by the sort keys of their fields, which also order the result;
where they are by one field, most rows find their group by the bytes of its value.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cython cimport final
from libc.math cimport fabs
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from modelvault._core.buffer cimport Buffer, get16, get64
from modelvault._core.codec cimport Codec
from modelvault._core.columns cimport Columns
from modelvault._core.container cimport Custom
from modelvault._core.feed cimport COUNT, ROWS
from modelvault._core.leaf cimport (
    BOOL, BYTES, CHOICE, FLOAT, INT, INT64, STRING, UINT64, Value, form_of, load_fixed,
)
from modelvault._core.objects cimport Part
from modelvault._core.order cimport SortKeys
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport ABSENT, PRESENT, Route, find, leave
from modelvault._core.scan cimport Scan, Sink
from modelvault._core.stretch cimport compare_bytes

from modelvault.errors import ModelVaultQueryError

cdef dict NAMES = {
    "count": COUNTED, "sum": SUMMED, "min": LEAST, "max": MOST, "avg": MEAN, "distinct": DIFFERENT,
}

cdef size_t ENDLESS = <size_t>-1


class Ascending:
    """A term of an order."""

    desc = False

    def __init__(self, path):
        self.path = path


@final
cdef class Function:
    """A function of the values at a path: "sum", "min", "max", "avg", "count", "distinct" (how many different ones).

    None is no value. Without a path, "count" counts rows. ModelVaultQueryError for an unknown name, a path that does not exist, leads
    to several values or to values that have no sum or no order.
    """

    def __init__(self, codecs not None, str name not None, path):
        if name not in NAMES:
            raise ModelVaultQueryError(f'query error: unknown function "{name}": there are {", ".join(NAMES)}')
        self.name = name
        self.what = NAMES[name]
        if path is not None:
            self.aim(list(codecs), tuple(path))
        elif self.what != COUNTED:
            raise ModelVaultQueryError(f'query error: "{name}" needs the path of a field')

    cdef int aim(self, list codecs, tuple path) except -1:
        """Resolve the path."""
        cdef RecordCodec newest = codecs[len(codecs) - 1]
        cdef bint custom
        self.route = Route(newest, path)
        self.column = Columns(codecs, [path])
        self.form = form_of(self.route.leaf)
        custom = (
            isinstance(self.route.codecs[self.route.count - 1], Custom) or self.route.step(self.route.count - 1).outer != NULL)
        words = f'the field "{".".join(path)}"'
        if self.route.many:
            raise ModelVaultQueryError(f'query error: {words} holds several values: "{self.name}" takes one of each row')
        self.summable = not custom and self.form in (BOOL, INT64, UINT64, INT, FLOAT)
        if self.what == SUMMED or self.what == MEAN:
            if self.form in (STRING, BYTES) and not custom:
                raise ModelVaultQueryError(f"query error: {words} is text: it has no {self.name}")
            self.plain = self.summable
        elif self.what == COUNTED:
            self.plain = not custom
        else:
            # The least of records of several versions is known by one way of comparing only.
            self.plain = self.form < CHOICE and self.what != DIFFERENT and len(codecs) == 1 and not custom
            self.order = SortKeys(codecs, (Ascending(path),))
        return 0

    cdef object value(self, const unsigned char* record, size_t size):
        """The value as a row shows it."""
        return self.column.read(record, size)[0]

    cdef object total(self, const Cell* cell, object other):
        """The result."""
        if self.what == COUNTED:
            return cell.count
        if self.what == DIFFERENT:
            return 0 if other is None else len(other)
        if self.what == LEAST or self.what == MOST:
            if self.plain and cell.count:
                return (<Codec>self.route.step(self.route.count - 1).codec).read_fixed(cell.stored, cell.wide)
            return None if other is None else other[1]
        if cell.count == 0:
            return 0 if self.what == SUMMED else None
        sum = other
        if self.summable:
            number = settled(cell) if self.form == FLOAT else new_integer(cell.high, cell.low)
            sum = number if sum is None else sum + number
        return sum if self.what == SUMMED else sum / cell.count


cdef int find_value(Route route, const unsigned char* record, size_t size, Part* part) except -1:
    """The bytes of the value at a path in a record of the newest version; ABSENT for None."""
    cdef Py_ssize_t i
    cdef int found = PRESENT
    part.data, part.size = record + 2, size - 2
    for i in range(route.count):
        found = leave(find(&route.hops[i], part.data, part.size, part))
        if found == ABSENT:
            break
    return found


cdef inline size_t place_of(const Part* part) noexcept nogil:
    """Where the group of a value stands in the shelf, if it does."""
    cdef uint64_t word, hash = part.size
    cdef size_t at = 0
    while at < part.size:
        word = 0
        memcpy(&word, part.data + at, min(part.size - at, <size_t>8))
        hash = (hash ^ word) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 32
        at += 8
    return hash & ((1 << SHELF_BITS) - 1)


cdef double settled(const Cell* cell) noexcept:
    """A sum of floats with what rounding took from it, unless it ran into infinity."""
    cdef double sum = cell.real + cell.lost
    return sum if sum == sum else cell.real


cdef void add_integer(Cell* cell, uint64_t value, bint negative) noexcept nogil:
    """Add an integer, given as its lower 64 bits in two's complement."""
    cell.low += value
    cell.high += (cell.low < value) - negative


cdef object new_integer(int64_t high, uint64_t low):
    return (int(high) << 64) | int(low) if high != <int64_t>low >> 63 else <int64_t>low


cdef void add_real(Cell* cell, double value) noexcept:
    """Add a float, and note what the sum could not hold."""
    cdef double sum = cell.real + value
    if fabs(cell.real) >= fabs(value):
        cell.lost += (cell.real - sum) + value
    else:
        cell.lost += (value - sum) + cell.real
    cell.real = sum


cdef int add_plain(Cell* cell, Function function, const Part* part) except -1:
    """Let a function take a value of fixed width into account."""
    cdef double number
    cell.count += 1
    if function.what == COUNTED:
        return 0
    if function.what == LEAST or function.what == MOST:
        return add_ordered(cell, function, part)
    if function.form == FLOAT:
        memcpy(&number, part.data, 8)
        add_real(cell, number)
    elif function.form == BOOL:
        add_integer(cell, part.data[0] == 1, False)
    elif part.wide or function.form == UINT64:
        add_integer(cell, get64(part.data), False)
    else:
        add_integer(cell, get64(part.data), <int64_t>get64(part.data) < 0)
    return 0


cdef int add_ordered(Cell* cell, Function function, const Part* part) except -1:
    """Keep a value if it is the least or the greatest."""
    cdef Value value
    cdef bint less, more
    leave(load_fixed(function.form, part.data, part.wide, &value))
    less = value.major < cell.major or (value.major == cell.major and value.minor < cell.minor)
    more = value.major > cell.major or (value.major == cell.major and value.minor > cell.minor)
    if cell.count == 1 or (less if function.what == LEAST else more):
        cell.major, cell.minor = value.major, value.minor
        memcpy(cell.stored, part.data, min(part.size, <size_t>16))
        cell.wide = part.wide
    return 0


cdef class Group:
    """The state of the functions in one group."""

    def __dealloc__(self):
        PyMem_Free(self.cells)


@final
cdef class Aggregate(Sink):
    """Functions of the rows of a scan, over all of them or by groups of equal values at the paths `groups`.

    `codecs`: of one Python side, from the oldest schema version to the newest. functions: (name, path) pairs, see Function. `step`
    reads the scan in slices until it says True, then there is a `result`. Any error but ColdPage ends the aggregation.
    """

    def __init__(self, Scan scan not None, codecs not None, functions not None, groups=()):
        cdef RecordCodec newest = codecs[len(codecs) - 1]
        cdef list terms = [Ascending(tuple(path)) for path in groups]
        self.scan = scan
        self.bare = True
        self.functions = [Function(codecs, name, path) for name, path in functions]
        self.newest = newest.version
        self.groups = {}
        self.key = Buffer()
        self.last = self.last_key = None
        if terms:
            self.order = SortKeys(codecs, terms, False)
            self.columns = Columns(codecs, [term.path for term in terms])
            if len(terms) == 1:
                self.route = Route(newest, terms[0].path)
        else:
            self.last = self.groups[b""] = self.new_group(NULL, 0)

    def step(self, size_t budget=ENDLESS, bint wait=True, bint release=False, size_t count=ENDLESS):
        """Read on, at most `budget` rows of the scan, `count` that match; whether all is read. wait, release: as in Scan."""
        cdef bint bare = self.order is None and all([(<Function>function).route is None for function in self.functions])
        cdef size_t found
        cdef Py_ssize_t i
        if not self.scan.done:
            found = self.scan.run(COUNT if bare else ROWS, None if bare else self, count, budget, wait, release)
            if bare:
                for i in range(len(self.functions)):
                    self.last.cells[i].count += found
        return self.scan.done

    def add_rows(self, list rows not None):
        """Take in rows that were read before: (primary key, record) pairs."""
        for key, record in rows:
            self.take(
                <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                <const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))

    def result(self):
        """A tuple for each group, in the order of their values, None last: those, then the results of the functions.

        Without groups exactly one tuple. A sum of nothing is 0, a mean, least or greatest value of nothing is None.
        """
        cdef Group group
        cdef Py_ssize_t i
        cdef list rows = []
        for key in sorted(self.groups):
            group = self.groups[key]
            totals = [
                (<Function>self.functions[i]).total(&group.cells[i], group.others[i])
                for i in range(len(self.functions))]
            rows.append((*group.values, *totals))
        return rows

    cdef int take(
            self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1:
        cdef Group group = self.last if self.order is None else self.group_of(record, size)
        cdef Py_ssize_t i
        for i in range(len(self.functions)):
            self.add(group, i, <Function>self.functions[i], record, size)
        return 0

    cdef Group group_of(self, const unsigned char* record, size_t size):
        """The group of a record, perhaps a new one."""
        cdef Part part
        cdef PyObject** place = NULL
        cdef Group group
        if self.route is not None and size >= 2 and get16(record) == self.newest:
            found = find_value(self.route, record, size, &part)
            if found == PRESENT and 0 < part.size <= MOST_RAW and not part.wide:
                place = &self.shelf[place_of(&part)]
                if place[0] != NULL:
                    group = <Group>place[0]
                    if group.raw_size == part.size and memcmp(group.raw, part.data, part.size) == 0:
                        return group
        group = self.group_by_key(record, size)
        if place != NULL:
            place[0] = <PyObject*>group
            group.raw_size = part.size
            memcpy(group.raw, part.data, part.size)
        return group

    cdef Group group_by_key(self, const unsigned char* record, size_t size):
        """The same by the sort key."""
        cdef Group group
        self.key.size = 0
        self.order.write(self.key, record, size, record, 0)
        if self.last is not None and <size_t>PyBytes_GET_SIZE(self.last_key) == self.key.size:
            if memcmp(PyBytes_AS_STRING(self.last_key), self.key.data, self.key.size) == 0:
                return self.last
        key = bytes(self.key)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = self.new_group(record, size)
        self.last, self.last_key = group, key
        return group

    cdef Group new_group(self, const unsigned char* record, size_t size):
        """A group that begins with this record; all rows, for NULL."""
        cdef Group group = Group.__new__(Group)
        cdef Py_ssize_t count = len(self.functions)
        group.cells = <Cell*>PyMem_Calloc(count + 1, sizeof(Cell))
        if group.cells == NULL:
            raise MemoryError()
        group.others = [None] * count
        group.values = () if record == NULL else self.columns.read(record, size)
        return group

    cdef int add(
            self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1:
        """Let a function take a row into account."""
        cdef Part part
        if function.route is None:
            group.cells[i].count += 1
            return 0
        if not function.plain or size < 2 or get16(record) != self.newest:
            return self.add_other(group, i, function, record, size)
        if find_value(function.route, record, size, &part) == PRESENT:
            return add_plain(group.cells + i, function, &part)
        return 0

    cdef int add_other(
            self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1:
        """The same by way of a Python object."""
        cdef Cell* cell = group.cells + i
        value = function.value(record, size)
        if value is None:
            return 0
        cell.count += 1
        if function.what == COUNTED:
            return 0
        if function.what == SUMMED or function.what == MEAN:
            return self.add_value(group, i, function, value)
        return self.compare(group, i, function, record, size)

    cdef int add_value(self, Group group, Py_ssize_t i, Function function, object value) except -1:
        """Add a value in Python."""
        if function.summable and function.form == FLOAT:
            add_real(group.cells + i, value)
            return 0
        total = group.others[i]
        try:
            group.others[i] = value if total is None else total + value
        except TypeError as error:
            raise ModelVaultQueryError(
                f'query error: the values of "{".".join(function.route.path)}" have no {function.name}: {error}') from error
        return 0

    cdef int compare(
            self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1:
        """Note the sort key of a value: among those seen, or with the value if it is the least or greatest of them."""
        cdef Buffer key = self.key
        cdef bytes best
        cdef int order
        key.size = 0
        function.order.write(key, record, size, record, 0)
        kept = group.others[i]
        if function.what == DIFFERENT:
            if kept is None:
                kept = group.others[i] = set()
            kept.add(bytes(key))
            return 0
        if kept is not None:
            best = (<tuple>kept)[0]
            order = compare_bytes(best, key.data, key.size)
            if order <= 0 if function.what == LEAST else order >= 0:
                return 0
        group.others[i] = (bytes(key), function.value(record, size))
        return 0
