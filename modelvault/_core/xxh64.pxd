"""XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) as a static function for whoever cimports it."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>

    #define XXH_P1 0x9E3779B185EBCA87ULL
    #define XXH_P2 0xC2B2AE3D27D4EB4FULL
    #define XXH_P3 0x165667B19E3779F9ULL
    #define XXH_P4 0x85EBCA77C2B2AE63ULL
    #define XXH_P5 0x27D4EB2F165667C5ULL

    static inline uint64_t xxh_rotate(uint64_t x, int n) { return (x << n) | (x >> (64 - n)); }

    static inline uint64_t xxh_word64(const unsigned char *p) { uint64_t x; memcpy(&x, p, 8); return x; }

    static inline uint64_t xxh_word32(const unsigned char *p) { uint32_t x; memcpy(&x, p, 4); return x; }

    static inline uint64_t xxh_round(uint64_t lane, uint64_t word) {
        return xxh_rotate(lane + word * XXH_P2, 31) * XXH_P1;
    }

    static inline uint64_t xxh_merge(uint64_t hash, uint64_t lane) {
        return (hash ^ xxh_round(0, lane)) * XXH_P1 + XXH_P4;
    }

    static uint64_t xxh64(const unsigned char *p, size_t size, uint64_t seed) {
        const unsigned char *end = p + size;
        uint64_t hash;
        if (size >= 32) {
            uint64_t a = seed + XXH_P1 + XXH_P2, b = seed + XXH_P2, c = seed, d = seed - XXH_P1;
            do {
                a = xxh_round(a, xxh_word64(p));
                b = xxh_round(b, xxh_word64(p + 8));
                c = xxh_round(c, xxh_word64(p + 16));
                d = xxh_round(d, xxh_word64(p + 24));
                p += 32;
            } while (p + 32 <= end);
            hash = xxh_rotate(a, 1) + xxh_rotate(b, 7) + xxh_rotate(c, 12) + xxh_rotate(d, 18);
            hash = xxh_merge(xxh_merge(xxh_merge(xxh_merge(hash, a), b), c), d);
        } else {
            hash = seed + XXH_P5;
        }
        hash += size;
        for (; p + 8 <= end; p += 8)
            hash = xxh_rotate(hash ^ xxh_round(0, xxh_word64(p)), 27) * XXH_P1 + XXH_P4;
        if (p + 4 <= end) {
            hash = xxh_rotate(hash ^ xxh_word32(p) * XXH_P1, 23) * XXH_P2 + XXH_P3;
            p += 4;
        }
        for (; p < end; p++)
            hash = xxh_rotate(hash ^ *p * XXH_P5, 11) * XXH_P1;
        hash = (hash ^ hash >> 33) * XXH_P2;
        hash = (hash ^ hash >> 29) * XXH_P3;
        return hash ^ hash >> 32;
    }
    """
    uint64_t xxh64(const unsigned char* data, size_t size, uint64_t seed)
