/* One square of a product of halves, 32 rows by 32 columns: by the tiles of AMX, or else by vectors. */
#pragma once

#include <immintrin.h>

#include "exact.h"

enum { WORDS = SIDE * SIDE };

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>

enum { ASK_FOR_STATE = 0x1023, TILE_STATE = 18 };

typedef struct {
    uint8_t palette, row, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed)) Setting;

int has_halves(void) { return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_STATE) == 0; }

static void open_tiles(Setting *before) {
    Setting wanted = { .palette = 1 };
    for (int i = 0; i < 8; i++) wanted.bytes[i] = 4 * SIDE, wanted.rows[i] = SIDE;
    _tile_storeconfig(before);
    _tile_loadconfig(&wanted);
}

static void close_tiles(const Setting *before) {               /* torch's library counts on its own setting */
    if (before->palette) _tile_loadconfig(before);
    else _tile_release();
}

/* to = from + a b over a strip of tiles: rows `above` and `below`, columns `left` and `right`. */
static void square(
    int64_t strip, const uint32_t *above, const uint32_t *below, const uint32_t *left, const uint32_t *right,
    const float *from, int64_t from_down, float *to, int64_t to_down
) {
    _tile_loadd(0, from, 4 * from_down);
    _tile_loadd(1, from + SIDE, 4 * from_down);
    _tile_loadd(2, from + SIDE * from_down, 4 * from_down);
    _tile_loadd(3, from + SIDE * from_down + SIDE, 4 * from_down);
    for (int64_t k = 0; k < strip; k += WORDS) {
        _tile_loadd(4, above + k, 4 * SIDE);
        _tile_loadd(5, left + k, 4 * SIDE);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, right + k, 4 * SIDE);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, below + k, 4 * SIDE);
        _tile_dpbf16ps(2, 7, 5);
        _tile_dpbf16ps(3, 7, 6);
    }
    _tile_stored(0, to, 4 * to_down);
    _tile_stored(1, to + SIDE, 4 * to_down);
    _tile_stored(2, to + SIDE * to_down, 4 * to_down);
    _tile_stored(3, to + SIDE * to_down + SIDE, 4 * to_down);
}
#else
enum { AT_ONCE = 8 };                                          /* rows whose sums stay in registers */

typedef struct { int none; } Setting;

int has_halves(void) { return 1; }
static void open_tiles(Setting *before) { (void)before; }
static void close_tiles(const Setting *before) { (void)before; }

static inline __attribute__((always_inline)) void some_rows(
    int64_t strip, const uint32_t *a, const uint32_t *left, const uint32_t *right, const float *from,
    int64_t from_down, float *to, int64_t to_down
) {
    __m512 sum[AT_ONCE][2];
#pragma GCC unroll 8
    for (int i = 0; i < AT_ONCE; i++) {
        sum[i][0] = _mm512_loadu_ps(from + i * from_down);
        sum[i][1] = _mm512_loadu_ps(from + i * from_down + SIDE);
    }
    for (int64_t k = 0; k < strip; k += WORDS)
        for (int p = 0; p < SIDE; p++) {
            __m512bh one = (__m512bh)_mm512_loadu_si512(left + k + p * SIDE);
            __m512bh other = (__m512bh)_mm512_loadu_si512(right + k + p * SIDE);
#pragma GCC unroll 8
            for (int i = 0; i < AT_ONCE; i++) {
                __m512bh pair = (__m512bh)_mm512_set1_epi32(a[k + i * SIDE + p]);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, one);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, other);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < AT_ONCE; i++) {
        _mm512_storeu_ps(to + i * to_down, sum[i][0]);
        _mm512_storeu_ps(to + i * to_down + SIDE, sum[i][1]);
    }
}

/* to = from + a b over a strip of tiles: rows `above` and `below`, columns `left` and `right`. */
static void square(
    int64_t strip, const uint32_t *above, const uint32_t *below, const uint32_t *left, const uint32_t *right,
    const float *from, int64_t from_down, float *to, int64_t to_down
) {
    for (int64_t i = 0; i < 2 * SIDE; i += AT_ONCE) {
        const uint32_t *a = (i < SIDE ? above : below) + i % SIDE * SIDE;
        some_rows(strip, a, left, right, from + i * from_down, from_down, to + i * to_down, to_down);
    }
}
#endif
