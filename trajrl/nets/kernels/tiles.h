/* Products of factors rounded to bfloat16, sums in float32, by the tiles of processors that have them (AMX).

   A factor lies in tiles of 16 rows of 16 pairs of halves: of a, rows by depth; of b, depth by columns with
   the two halves of a pair one below the other, as the instruction wants it.  What is missing is zero.
*/
#pragma once

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DEEP = 2 * SIDE, WORDS = SIDE * SIDE, ASK_FOR_STATE = 0x1023, TILE_STATE = 18 };

typedef struct {
    uint8_t palette, row, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed)) Setting;

int has_tiles(void) { return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_STATE) == 0; }

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
            int64_t from_down = start_down, to_down = out_down;
            int whole = tall == side && wide == side;
            if (!whole) {
                for (int64_t r = 0; r < tall; r++)
                    memcpy(edge + r * side, from + r * start_down, sizeof(float) * wide);
                from = to = edge, from_down = to_down = side;
            }
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
            if (!whole)
                for (int64_t r = 0; r < tall; r++)
                    memcpy(out + (i + r) * out_down + n, edge + r * side, sizeof(float) * wide);
        }
}
#else
enum { DEEP = 32 };
typedef struct { int none; } Setting;
int has_tiles(void) { return 0; }
#define open_tiles(before) ((void)(before))
#define close_tiles(before) ((void)(before))
#define in_tiles(out, ...) ((void)(out))
#define fast_product(...) ((void)0)
#endif
