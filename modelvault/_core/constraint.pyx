"""Constraints, compiled for the kind of value they stand on.

Numbers and lengths are compared with bounds that were put together beforehand; only when a value fails are the
constraints asked one by one, to say which it was. Messages are 0.16's where it had the constraint.
"""

import math
import re

from libc.math cimport fabs, fmod, isfinite
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX, uint64_t

from modelvault.errors import ModelVaultSchemaError, ModelVaultValidationError

cdef frozenset INTEGERS = frozenset(("int64", "uint64", "int"))
cdef dict NOUNS = {"list": "list", "vartuple": "tuple", "set": "set", "frozenset": "set", "dict": "dict"}
cdef frozenset LOWER = frozenset(("min_i64", "min_u64", "min_f64", "ge", "gt"))
cdef frozenset UPPER = frozenset(("max_i64", "max_u64", "max_f64", "le", "lt"))
cdef frozenset OCTETS = frozenset(("min_length", "max_length", "nonempty"))
cdef frozenset ORDERS = frozenset(("ge", "gt", "le", "lt", "multiple_of"))


cdef int fail(str message) except -1:
    raise ModelVaultValidationError(message)


cdef str show(object value):
    """A number as 0.16 prints it: floats without `.0`."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


cdef int explain_order(object rule, object value) except -1:
    """Raise if `value` is out of the bound `rule`, or not comparable with it."""
    bound = rule.value
    shown = f"value {show(value)}"
    try:
        if rule.kind == "gt":
            good, words = value > bound, f"is not above {show(bound)}"
        elif rule.kind == "lt":
            good, words = value < bound, f"is not below {show(bound)}"
        elif rule.kind == "multiple_of":
            good, words = is_multiple(value, bound), f"is not a multiple of {show(bound)}"
        elif rule.kind in LOWER:
            good, words = value >= bound, f"is below minimum {show(bound)}"
        else:
            good, words = value <= bound, f"is above maximum {show(bound)}"
    except TypeError as error:
        raise ModelVaultValidationError(f"{shown} cannot be compared: {error}") from None
    if not good:
        raise ModelVaultValidationError(f"{shown} {words}")
    return 0


cdef int explain_length(object rule, str noun, Py_ssize_t count) except -1:
    """Raise if a length is out of the bound `rule`."""
    if rule.kind == "nonempty":
        if not count:
            raise ModelVaultValidationError(f"{noun} must be non-empty")
    elif rule.kind.startswith("min") and count < rule.value:
        raise ModelVaultValidationError(f"{noun} length {count} is below minimum {rule.value}")
    elif rule.kind.startswith("max") and count > rule.value:
        raise ModelVaultValidationError(f"{noun} length {count} is above maximum {rule.value}")
    return 0


cdef bint is_multiple(object value, object step) except -1:
    """Whether `value` is a multiple of `step`."""
    return divides(step, value) if isinstance(value, float) else not value % step


cdef bint divides(double step, double value) noexcept:
    """Whether a float is a multiple of another; it may miss by a billionth of its size, as Pydantic allows."""
    cdef double rest = fabs(fmod(value, step))
    cdef double slack = fabs(value) / 1e9
    return isfinite(value) and (rest <= slack or fabs(rest - fabs(step)) <= slack)


cdef class Check:
    """No constraint fails. Subclasses override what their kinds of value are asked."""

    cdef int integer(self, int64_t value, bint wide) except -1:
        return 0

    cdef int real(self, double value) except -1:
        return 0

    cdef int text(self, object value, size_t utf8_size) except -1:
        return 0

    cdef int size(self, Py_ssize_t count) except -1:
        return 0

    cdef int other(self, object value) except -1:
        return 0


cdef class IntegerCheck(Check):
    """Bounds of integers: once for int64 values, once for those from 2^63 on."""
    cdef int64_t low, high
    cdef uint64_t wide_low, wide_high
    cdef uint64_t step              # of the one multiple_of, when it is an integer
    cdef bint stepped               # other multiple_of constraints, for Python to look at

    def __cinit__(self, tuple rules):
        self.rules = rules
        low, high = -(1 << 63), (1 << 64) - 1
        for rule in rules:
            if rule.kind in LOWER:
                low = max(low, least(rule.value, rule.kind == "gt"))
            elif rule.kind in UPPER:
                high = min(high, -least(-rule.value, rule.kind == "lt"))
            elif not self.step and isinstance(rule.value, int) and 0 < rule.value <= UINT64_MAX:
                self.step = rule.value
            else:
                self.stepped = True
        # An empty range stays empty: low 1, high 0.
        self.low, self.high = 1, 0
        if low <= INT64_MAX and high >= INT64_MIN:
            self.low, self.high = max(low, INT64_MIN), min(high, INT64_MAX)
        self.wide_low, self.wide_high = 1, 0
        if low <= UINT64_MAX and high >= 0:
            self.wide_low, self.wide_high = max(low, 0), high

    cdef int integer(self, int64_t value, bint wide) except -1:
        if wide:
            if <uint64_t>value < self.wide_low or <uint64_t>value > self.wide_high:
                return self.explain(<uint64_t>value)
        elif value < self.low or value > self.high:
            return self.explain(value)
        if self.stepped or self.step and size_of(value, wide) % self.step:
            return self.explain(<uint64_t>value if wide else value)
        return 0

    cdef int explain(self, object value) except -1:
        for rule in self.rules:
            explain_order(rule, value)
        return 0


cdef inline uint64_t size_of(int64_t value, bint wide) noexcept:
    return -<uint64_t>value if value < 0 and not wide else <uint64_t>value


cdef object least(object bound, bint above):
    """The least integer that is >= `bound`, or > `bound`."""
    if isinstance(bound, float) and not math.isfinite(bound):
        # Beyond every integer on its side; NaN admits none.
        return -(1 << 65) if bound < 0 else 1 << 65
    whole = math.ceil(bound)
    return whole + 1 if above and whole == bound else whole


cdef class FloatCheck(Check):
    """Bounds of floats, closed or open. NaN is within no bound."""
    cdef double low, high
    cdef double step                # of the one multiple_of
    cdef bint above, below, bounded
    cdef bint stepped               # other multiple_of constraints

    def __cinit__(self, tuple rules):
        self.rules = rules
        self.low, self.high = -math.inf, math.inf
        for rule in rules:
            if rule.kind == "multiple_of":
                self.stepped = self.step != 0
                self.step = float(rule.value)
                continue
            self.bounded = True
            bound = float(rule.value)
            if rule.kind in LOWER and (bound > self.low or bound == self.low and rule.kind == "gt"):
                self.low, self.above = bound, rule.kind == "gt"
            elif rule.kind in UPPER and (bound < self.high or bound == self.high and rule.kind == "lt"):
                self.high, self.below = bound, rule.kind == "lt"

    cdef int real(self, double value) except -1:
        if self.bounded:
            if not (value >= self.low and value <= self.high):
                return self.explain(value)
            if self.above and value == self.low or self.below and value == self.high:
                return self.explain(value)
        if self.stepped or self.step != 0 and not divides(self.step, value):
            return self.explain(value)
        return 0

    cdef int explain(self, double value) except -1:
        for rule in self.rules:
            explain_order(rule, value)
        return 0


cdef class SizeCheck(Check):
    """Lengths of bytes and containers."""
    cdef Py_ssize_t low, high
    cdef str noun

    def __cinit__(self, tuple rules, str noun):
        self.rules = rules
        self.noun = noun
        self.high = (1 << 62)
        for rule in rules:
            if rule.kind == "nonempty":
                self.low = max(self.low, 1)
            elif rule.kind.startswith("min"):
                self.low = max(self.low, min(rule.value, 1 << 62))
            else:
                self.high = min(self.high, rule.value)

    cdef int size(self, Py_ssize_t count) except -1:
        if count < self.low or count > self.high:
            for rule in self.rules:
                explain_length(rule, self.noun, count)
        return 0


cdef class TextCheck(Check):
    """Strings: lengths in UTF-8 bytes (0.16's kinds) or characters, patterns, shapes, bounds."""
    cdef Check bytes_size, char_size
    cdef list patterns              # compiled; a search must find something
    cdef list others

    def __cinit__(self, tuple rules):
        self.rules = rules
        octets = tuple(rule for rule in rules if rule.kind in OCTETS)
        chars = tuple(rule for rule in rules if rule.kind in ("min_len", "max_len"))
        self.bytes_size = SizeCheck(octets, "string") if octets else None
        self.char_size = SizeCheck(chars, "string") if chars else None
        self.patterns = [compile_pattern(rule) for rule in rules if rule.kind in ("regex", "pattern")]
        self.others = [rule for rule in rules if rule.kind in ("email", "url") or rule.kind in ORDERS]

    cdef int text(self, object value, size_t utf8_size) except -1:
        if self.bytes_size is not None:
            self.bytes_size.size(utf8_size)
        if self.char_size is not None:
            self.char_size.size(len(value))
        for search in self.patterns:
            if search(value) is None:
                return fail("string does not match regex")
        for rule in self.others:
            if rule.kind == "email":
                if "." not in value.partition("@")[2]:
                    return fail("string is not a valid email shape")
            elif rule.kind == "url":
                if not value.startswith(("http://", "https://")):
                    return fail("string must be an http(s) URL")
            else:
                explain_order(rule, value)
        return 0


cdef object compile_pattern(object rule):
    """The search function of a pattern. In 0.16's regex `$` is the very end, never before a last newline."""
    text = rule.value
    if not isinstance(text, str):
        return text.search
    if rule.kind == "regex":
        text = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", strict_end, text, flags=re.DOTALL)
    try:
        return re.compile(text).search
    except (re.error, RecursionError, OverflowError) as error:
        raise ModelVaultSchemaError(f"schema error: invalid regex in schema: {error}") from None


def strict_end(match):
    """`$` as the very end; escapes and character classes as they are. `\\z` is Rust's spelling of the same."""
    return r"\Z" if match[0] in ("$", r"\z") else match[0]


cdef class BytesCheck(Check):
    """Bytes: their length, and bounds."""
    cdef Check length
    cdef list others

    def __cinit__(self, tuple rules):
        self.rules = rules
        self.others = [rule for rule in rules if rule.kind in ORDERS]
        self.length = SizeCheck(tuple(rule for rule in rules if rule.kind not in ORDERS), "bytes")

    cdef int text(self, object value, size_t size) except -1:
        self.length.size(size)
        for rule in self.others:
            explain_order(rule, value)
        return 0


cdef class OrderCheck(Check):
    """Bounds of what only Python can compare: decimals, dates and times."""

    def __cinit__(self, tuple rules):
        self.rules = rules

    cdef int other(self, object value) except -1:
        for rule in self.rules:
            explain_order(rule, value)
        return 0


cdef Check compile_check(str kind, object constraints):
    """The check of `constraints` for values of `kind`, None when there are none. That they fit the kind is the schema's care."""
    cdef tuple rules = tuple(constraints)
    if not rules:
        return None
    if kind in INTEGERS:
        return IntegerCheck(rules)
    if kind == "float64":
        return FloatCheck(rules)
    if kind == "string":
        return TextCheck(rules)
    if kind == "bytes":
        return BytesCheck(rules)
    if kind in NOUNS:
        return SizeCheck(rules, NOUNS[kind])
    return OrderCheck(rules)
