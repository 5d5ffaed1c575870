/* Products of factors rounded to bfloat16, sums in float32, where a processor has instructions for them.

   A factor lies in tiles of 16 rows of 16 pairs of halves: of a, rows by depth; of b, depth by columns with
   the two halves of a pair one below the other, as the instructions want it.  What is missing is zero.
*/
#pragma once

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#include <immintrin.h>

#include "tile_product.h"

enum { DEEP = 2 * SIDE };

static inline __m512 some(const float *x, int64_t count) {
    return _mm512_maskz_loadu_ps(count >= SIDE ? 0xFFFF : count > 0 ? (1u << count) - 1 : 0, x);
}

static inline __m512i halves(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

static inline void transpose(__m512i *row) {                   /* 16 by 16 words, in place */
    __m512i t[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        t[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4)
        for (int j = 0; j < 2; j++) {
            row[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            row[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int i = 0; i < SIDE; i++) {
        int from = i / 8 * 8 + i % 4;
        t[i] = i & 4 ? _mm512_shuffle_i32x4(row[from], row[from + 4], 0xdd)
                     : _mm512_shuffle_i32x4(row[from], row[from + 4], 0x88);
    }
    for (int i = 0; i < 8; i++) {
        row[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        row[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Word (i, p) of a tile holds x[i, 2p] and x[i, 2p + 1], of `count` rows and `depth` columns that are there;
   turned, word (p, i).  One of the steps `down` and `along` is 1. */
static inline void one_tile(
    uint32_t *out, const float *x, int64_t count, int64_t depth, int64_t down, int64_t along, int turned
) {
    __m512i row[SIDE];
    if (along == 1) {
        for (int i = 0; i < SIDE; i++) {
            const float *from = x + least(i, count - 1) * down;
            int64_t there = i < count ? depth : 0;
            row[i] = halves(some(from, there), some(from + SIDE, there - SIDE));
        }
    } else {
        const __m512i paired = _mm512_set_epi16(
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
            23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0
        );
        for (int64_t p = 0; p < SIDE; p++) {
            __m512 even = some(x + 2 * p * along, 2 * p < depth ? count : 0);
            __m512 odd = some(x + (2 * p + 1) * along, 2 * p + 1 < depth ? count : 0);
            row[p] = _mm512_permutexvar_epi16(paired, halves(even, odd));
        }
    }
    if (turned == (along == 1)) transpose(row);
    for (int i = 0; i < SIDE; i++) _mm512_storeu_si512(out + i * SIDE, row[i]);
}

static void in_tiles(
    uint32_t *out, const float *x, int64_t count, int64_t depth, int64_t down, int64_t along, int turned
) {
    for (int64_t i = 0; i < count; i += SIDE)
        for (int64_t k = 0; k < depth; k += DEEP, out += WORDS)
            one_tile(
                out, x + i * down + k * along, least(SIDE, count - i), least(DEEP, depth - k), down, along,
                turned
            );
}

/* out (rows, columns) = start + a b, of factors in_tiles. */
static void fast_product(
    int64_t rows, int64_t columns, int64_t depth, const uint32_t *a, const uint32_t *b, const float *start,
    int64_t start_down, float *out, int64_t out_down
) {
    const int64_t strip = upto(depth, DEEP) / DEEP * WORDS, side = 2 * SIDE;
    float edge[4 * WORDS];
    for (int64_t n = 0; n < columns; n += side)
        for (int64_t i = 0; i < rows; i += side) {
            int64_t tall = least(side, rows - i), wide = least(side, columns - n);
            const uint32_t *above = a + i / SIDE * strip, *below = tall > SIDE ? above + strip : above;
            const uint32_t *left = b + n / SIDE * strip, *right = wide > SIDE ? left + strip : left;
            const float *from = start + i * start_down + n;
            float *to = out + i * out_down + n;
            if (tall == side && wide == side) {
                square(strip, above, below, left, right, from, start_down, to, out_down);
                continue;
            }
            for (int64_t r = 0; r < tall; r++)
                memcpy(edge + r * side, from + r * start_down, sizeof(float) * wide);
            square(strip, above, below, left, right, edge, side, edge, side);
            for (int64_t r = 0; r < tall; r++)
                memcpy(to + r * out_down, edge + r * side, sizeof(float) * wide);
        }
}
#else
enum { DEEP = 32 };
typedef struct { int none; } Setting;
int has_halves(void) { return 0; }
#define open_tiles(before) ((void)(before))
#define close_tiles(before) ((void)(before))
#define in_tiles(out, ...) ((void)(out))
#define fast_product(...) ((void)0)
#endif
