"""Points in time, dates, times of day and spans.

The zone of a value is its offset in seconds * 2 + fold. A zone's name is not kept: what comes back has a fixed offset.
"""

import datetime

from cpython.datetime cimport (
    PyDate_Check, PyDateTime_Check, PyDateTime_DATE_GET_FOLD, PyDateTime_DATE_GET_HOUR, PyDateTime_DATE_GET_MICROSECOND,
    PyDateTime_DATE_GET_MINUTE, PyDateTime_DATE_GET_SECOND, PyDateTime_DELTA_GET_DAYS, PyDateTime_DELTA_GET_MICROSECONDS,
    PyDateTime_DELTA_GET_SECONDS, PyDateTime_GET_DAY, PyDateTime_GET_MONTH, PyDateTime_GET_YEAR, PyDateTime_IMPORT,
    PyDateTime_TIME_GET_FOLD, PyDateTime_TIME_GET_HOUR, PyDateTime_TIME_GET_MICROSECOND, PyDateTime_TIME_GET_MINUTE,
    PyDateTime_TIME_GET_SECOND, PyDelta_Check, PyTime_Check, date_new, datetime_tzinfo, time_tzinfo, timedelta_new,
)
from libc.stdint cimport INT32_MIN, INT64_MAX, INT64_MIN, uint32_t, uint64_t

from modelvault._core.buffer cimport (
    fail_corrupt, get32, get32_big, get64, get64_big, need, put32, put32_big, put64, put64_big, take,
)
from modelvault._core.codec cimport fail_instance

from modelvault.errors import ModelVaultFormatError

cdef extern from *:
    """
    #include <datetime.h>
    static inline PyObject *mv_new_datetime(int y, int m, int d, int hh, int mm, int ss, int us, PyObject *zone, int fold) {
        return PyDateTimeAPI->DateTime_FromDateAndTimeAndFold(
            y, m, d, hh, mm, ss, us, zone, fold, PyDateTimeAPI->DateTimeType);
    }
    static inline PyObject *mv_new_time(int hh, int mm, int ss, int us, PyObject *zone, int fold) {
        return PyDateTimeAPI->Time_FromTimeAndFold(hh, mm, ss, us, zone, fold, PyDateTimeAPI->TimeType);
    }
    """
    object new_datetime "mv_new_datetime"(int y, int m, int d, int hh, int mm, int ss, int us, object zone, int fold)
    object new_time "mv_new_time"(int hh, int mm, int ss, int us, object zone, int fold)

PyDateTime_IMPORT

cdef enum:
    EPOCH_ORDINAL = 719163      # 1970-01-01
    LAST_ORDINAL = 3652059      # 9999-12-31
    DAY_SECONDS = 86400

cdef int32_t NAIVE = INT32_MIN      # zone of a naive value, + fold
cdef int32_t BARE = INT32_MIN + 2   # zone of an instant given as an integer
cdef int64_t DAY = <int64_t>86400 * 1000000
cdef uint64_t SIGN = (<uint64_t>1) << 63
cdef object UTC = datetime.timezone.utc
cdef dict ZONES = {0: UTC}      # by offset in seconds; there are at most 172,799


cdef int64_t days_from_civil(int64_t year, int month, int day):
    """Days since 1970 of a date of the proleptic Gregorian calendar (Howard Hinnant's days_from_civil; years from 1)."""
    year -= month <= 2
    cdef int64_t era = year // 400
    cdef int64_t of_era = year - era * 400
    cdef int64_t of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


cdef struct Civil:
    int year
    int month
    int day


cdef Civil civil_from_days(int64_t days):
    """The inverse, for days from 0001-01-01 on."""
    cdef Civil civil
    cdef uint32_t shifted = <uint32_t>(days + 719468)
    cdef uint32_t era = shifted // 146097
    cdef uint32_t of_era = shifted - era * 146097
    cdef uint32_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef uint32_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef uint32_t month = (5 * of_year + 2) // 153
    civil.day = of_year - (153 * month + 2) // 5 + 1
    civil.month = month + 3 if month < 10 else month - 9
    civil.year = year + era * 400 + (civil.month <= 2)
    return civil


cdef object zone_of(int64_t seconds):
    """The timezone of a fixed offset; each is made once."""
    zone = ZONES.get(seconds)
    if zone is None:
        zone = ZONES[seconds] = datetime.timezone(datetime.timedelta(seconds=seconds))
    return zone


cdef int64_t offset_of(object value) except? -1:
    """Seconds east of UTC of an aware value, INT64_MIN for a naive one."""
    offset = value.utcoffset()
    if offset is None:
        return INT64_MIN
    if PyDateTime_DELTA_GET_MICROSECONDS(offset):
        raise ValueError(f"a UTC offset has whole seconds, not {offset}")
    return <int64_t>PyDateTime_DELTA_GET_DAYS(offset) * DAY_SECONDS + PyDateTime_DELTA_GET_SECONDS(offset)


cdef int from_datetime(object value, Moment* moment) except -1:
    cdef int64_t offset = INT64_MIN
    cdef int64_t days = days_from_civil(
        PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value))
    cdef int64_t seconds = (
        days * DAY_SECONDS + PyDateTime_DATE_GET_HOUR(value) * 3600 + PyDateTime_DATE_GET_MINUTE(value) * 60
        + PyDateTime_DATE_GET_SECOND(value))
    zone = datetime_tzinfo(value)
    if zone is UTC:
        offset = 0
    elif zone is not None:
        offset = offset_of(value)
        if offset == INT64_MIN:
            raise ValueError("a datetime whose zone has no offset for it cannot be stored")
    moment.zone = NAIVE + PyDateTime_DATE_GET_FOLD(value)
    if offset != INT64_MIN:
        seconds -= offset
        moment.zone = <int32_t>(offset * 2 + PyDateTime_DATE_GET_FOLD(value))
    moment.microseconds = seconds * 1000000 + PyDateTime_DATE_GET_MICROSECOND(value)
    return 0


cdef object to_datetime(int64_t instant, int32_t zone):
    """The datetime of a stored moment; an instant given as an integer is UTC."""
    cdef int64_t offset = 0
    cdef int fold = zone & 1
    timezone = None
    if zone == BARE:
        timezone = UTC
    elif zone != NAIVE and zone != NAIVE + 1:
        offset = (zone - fold) // 2
        if offset <= -DAY_SECONDS or offset >= DAY_SECONDS:
            fail_corrupt("a zone is a day or more from UTC")
        timezone = UTC if offset == 0 else zone_of(offset)
    if instant < -EPOCH_ORDINAL * DAY or instant > LAST_ORDINAL * DAY:
        fail_year(instant, zone)
    cdef int64_t micros = instant + offset * 1000000
    cdef int64_t days = micros // DAY
    cdef int64_t rest = micros - days * DAY
    if rest < 0:
        rest += DAY
        days -= 1
    if days <= -EPOCH_ORDINAL or days > LAST_ORDINAL - EPOCH_ORDINAL:
        fail_year(instant, zone)
    cdef Civil civil = civil_from_days(days)
    cdef int second = <int>(rest // 1000000)
    return new_datetime(
        civil.year, civil.month, civil.day, second // 3600, second // 60 % 60, second % 60,
        <int>(rest - <int64_t>second * 1000000), timezone, fold)


cdef int fail_year(int64_t instant, int32_t zone) except -1:
    if zone != BARE:
        return fail_corrupt("a datetime is outside the years 1 to 9999")
    raise ModelVaultFormatError(f"timestamp {instant} is outside the years 1 to 9999 and has no datetime; read it as a dict")


cdef class Timestamp(Fixed):
    """Points in time, aware or naive. 0.16's are integers: microseconds since 1970."""

    def __cinit__(self, bint typed):
        self.width = 12
        self.typed = typed

    cdef int read_value(self, object value, Moment* moment) except -1:
        if PyDateTime_Check(value):
            if not self.typed and datetime_tzinfo(value) is None:
                # As 0.16: a naive datetime is local time.
                value = value.astimezone()
            return from_datetime(value, moment)
        if not isinstance(value, int) or not INT64_MIN <= value <= INT64_MAX:
            raise ValueError("timestamp field expects int64 (Unix microseconds) or datetime.datetime")
        moment.microseconds = value
        moment.zone = BARE
        return 0

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef Moment moment
        self.read_value(value, &moment)
        if self.check is not None:
            self.check.other(to_datetime(moment.microseconds, moment.zone))
        put64(data, <uint64_t>moment.microseconds)
        put32(data + 8, <uint32_t>moment.zone)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        if self.typed:
            return to_datetime(<int64_t>get64(data), <int32_t>get32(data + 8))
        return <int64_t>get64(data)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_moment_key(out, data)

    cdef object read_key(self, Reader* reader, bint open):
        need(reader, 9)
        cdef int64_t micros = <int64_t>(get64_big(reader.at) ^ SIGN)
        cdef bint aware = reader.at[8]
        reader.at += 9
        if not self.typed:
            return micros
        return to_datetime(micros, BARE if aware else NAIVE)


cdef int put_moment_key(Buffer out, const unsigned char* data) except -1:
    """Microseconds, then naive before aware."""
    cdef int32_t zone = <int32_t>get32(data + 8)
    cdef unsigned char* p = take(out, 9)
    put64_big(p, get64(data) ^ SIGN)
    p[8] = zone != NAIVE and zone != NAIVE + 1
    return 0


cdef class Date(Fixed):
    """Dates; a datetime is none."""

    def __cinit__(self):
        self.width = 4

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        if not PyDate_Check(value) or PyDateTime_Check(value):
            return fail_instance(value, "date")
        if self.check is not None:
            self.check.other(value)
        put32(data, <uint32_t>(EPOCH_ORDINAL + days_from_civil(
            PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value))))
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return to_date(get32(data))

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        put32_big(take(out, 4), get32(data))
        return 0

    cdef object read_key(self, Reader* reader, bint open):
        need(reader, 4)
        reader.at += 4
        return to_date(get32_big(reader.at - 4))


cdef object to_date(uint32_t ordinal):
    if ordinal < 1 or ordinal > LAST_ORDINAL:
        fail_corrupt("a date is outside the years 1 to 9999")
    cdef Civil civil = civil_from_days(<int64_t>ordinal - EPOCH_ORDINAL)
    return date_new(civil.year, civil.month, civil.day)


cdef class Time(Fixed):
    """Times of day, aware or naive."""

    def __cinit__(self):
        self.width = 12

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef int64_t offset = INT64_MIN
        cdef int64_t seconds
        cdef int32_t zone
        if not PyTime_Check(value):
            return fail_instance(value, "time")
        if time_tzinfo(value) is not None:
            offset = offset_of(value)
            if offset == INT64_MIN:
                raise ValueError("a time whose zone has no fixed offset cannot be stored")
        if self.check is not None:
            self.check.other(value)
        seconds = (
            PyDateTime_TIME_GET_HOUR(value) * 3600 + PyDateTime_TIME_GET_MINUTE(value) * 60
            + PyDateTime_TIME_GET_SECOND(value))
        zone = NAIVE + PyDateTime_TIME_GET_FOLD(value)
        if offset != INT64_MIN:
            seconds -= offset
            zone = <int32_t>(offset * 2 + PyDateTime_TIME_GET_FOLD(value))
        put64(data, <uint64_t>(seconds * 1000000 + PyDateTime_TIME_GET_MICROSECOND(value)))
        put32(data + 8, <uint32_t>zone)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return to_time(<int64_t>get64(data), <int32_t>get32(data + 8))

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_moment_key(out, data)

    cdef object read_key(self, Reader* reader, bint open):
        """Of an aware time the same moment in UTC, which may be a day off: keys do not hold the zone."""
        need(reader, 9)
        cdef int64_t micros = <int64_t>(get64_big(reader.at) ^ SIGN)
        cdef bint aware = reader.at[8]
        reader.at += 9
        if micros < -2 * DAY or micros > 2 * DAY:
            fail_corrupt("a time is outside its day")
        if not aware:
            return to_time(micros, NAIVE)
        # Out of the day: the least offset that leads back into it.
        cdef int64_t offset = 0
        if micros < 0:
            offset = (999999 - micros) // 1000000
        elif micros >= DAY:
            offset = -((micros - DAY) // 1000000 + 1)
        return to_time(micros, <int32_t>(offset * 2))


cdef object to_time(int64_t micros, int32_t zone):
    cdef int64_t offset = 0
    cdef int fold = zone & 1
    timezone = None
    if zone != NAIVE and zone != NAIVE + 1:
        offset = (zone - fold) // 2
        if offset <= -DAY_SECONDS or offset >= DAY_SECONDS:
            fail_corrupt("a zone is a day or more from UTC")
        timezone = zone_of(offset)
    if micros < -2 * DAY or micros > 2 * DAY:
        fail_corrupt("a time is outside its day")
    micros += offset * 1000000
    if micros < 0 or micros >= DAY:
        fail_corrupt("a time is outside its day")
    cdef int second = <int>(micros // 1000000)
    return new_time(
        second // 3600, second // 60 % 60, second % 60, <int>(micros - <int64_t>second * 1000000), timezone, fold)


cdef class TimeDelta(Fixed):
    """Spans of time."""

    def __cinit__(self):
        self.width = 12

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        if not PyDelta_Check(value):
            return fail_instance(value, "timedelta")
        if self.check is not None:
            self.check.other(value)
        put32(data, <uint32_t>PyDateTime_DELTA_GET_DAYS(value))
        put64(data + 4, <uint64_t>(
            <int64_t>PyDateTime_DELTA_GET_SECONDS(value) * 1000000 + PyDateTime_DELTA_GET_MICROSECONDS(value)))
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return to_timedelta(<int32_t>get32(data), get64(data + 4))

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        cdef unsigned char* p = take(out, 12)
        put32_big(p, get32(data) ^ <uint32_t>0x80000000)
        put64_big(p + 4, get64(data + 4))
        return 0

    cdef object read_key(self, Reader* reader, bint open):
        need(reader, 12)
        reader.at += 12
        return to_timedelta(
            <int32_t>(get32_big(reader.at - 12) ^ <uint32_t>0x80000000), get64_big(reader.at - 8))


cdef object to_timedelta(int32_t days, uint64_t micros):
    if days < -999999999 or days > 999999999 or micros >= <uint64_t>DAY:
        fail_corrupt("a timedelta is out of range")
    return timedelta_new(days, <int>(micros // 1000000), <int>(micros % 1000000))
