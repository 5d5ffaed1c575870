/* Products of float32: out (rows, columns) = start + a b, every sum in the order of its terms.

   b lies in strips of STRIP columns (columns / STRIP, depth, STRIP), the last filled up with zeros.  A tile
   of TALL rows of one strip is summed in registers, of SHORT where fewer are left; a row has the same bits in
   a tile and alone.
*/
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, TALL = 8 };
#elif defined(__AVX__)
enum { LANES = 8, TALL = 6 };
#else
enum { LANES = 4, TALL = 4 };
#endif
enum { STRIP = 2 * LANES, SHORT = 4, SIDE = 16, DEPTH = 128 }; /* DEPTH terms of a strip stay in the cache */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline int64_t upto(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t places __attribute__((vector_size(16)));
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (places){ __VA_ARGS__ })
#endif

/* out (deep, STRIP) = the transpose of x (wide, deep), whose rows are `along` apart. */
static inline void turn(float *out, const float *x, int64_t along, int64_t deep, int64_t wide) {
    if (deep < 4 || wide < 4) {
        for (int64_t k = 0; k < deep; k++)
            for (int64_t j = 0; j < wide; j++) out[k * STRIP + j] = x[j * along + k];
        return;
    }
    four a = *(const four *)x, b = *(const four *)(x + along);
    four c = *(const four *)(x + 2 * along), d = *(const four *)(x + 3 * along);
    four ab = SHUFFLED(a, b, 0, 4, 1, 5), cd = SHUFFLED(c, d, 0, 4, 1, 5);
    *(four *)out = SHUFFLED(ab, cd, 0, 1, 4, 5);
    *(four *)(out + STRIP) = SHUFFLED(ab, cd, 2, 3, 6, 7);
    ab = SHUFFLED(a, b, 2, 6, 3, 7), cd = SHUFFLED(c, d, 2, 6, 3, 7);
    *(four *)(out + 2 * STRIP) = SHUFFLED(ab, cd, 0, 1, 4, 5);
    *(four *)(out + 3 * STRIP) = SHUFFLED(ab, cd, 2, 3, 6, 7);
}

static void in_strips(
    float *strips, const float *b, int64_t depth, int64_t columns, int64_t down, int64_t along
) {
    for (int64_t n = 0; n < columns; n += STRIP, strips += depth * STRIP) {
        int64_t wide = least(STRIP, columns - n);
        const float *from = b + n * along;
        if (wide < STRIP) memset(strips, 0, 4 * depth * STRIP);
        if (along == 1 && wide == STRIP)
            for (int64_t k = 0; k < depth; k++) memcpy(strips + k * STRIP, from + k * down, 4 * STRIP);
        else if (along == 1)
            for (int64_t k = 0; k < depth; k++) memcpy(strips + k * STRIP, from + k * down, 4 * wide);
        else
            for (int64_t k = 0; k < depth; k += 4)
                for (int64_t j = 0; j < wide; j += 4)
                    turn(
                        strips + k * STRIP + j, from + k * down + j * along, along, least(4, depth - k),
                        least(4, wide - j)
                    );
    }
}

/* The columns of a lie far apart: TALL of them at a time, depth by TALL, are laid side by side. */
static void in_columns(float *out, const float *a, int64_t rows, int64_t depth, int64_t along) {
    for (int64_t i = 0; i + TALL <= rows; i += TALL, out += depth * TALL)
        for (int64_t k = 0; k < depth; k++) memcpy(out + k * TALL, a + k * along + i, 4 * TALL);
}

static inline __attribute__((always_inline)) void tile(
    const int tall, int64_t depth, const float *a, int64_t down, int64_t along, const float *b,
    const float *start, int64_t start_down, float *out, int64_t out_down
) {
    vec sum[TALL][2];
    const float *row[3] = { a, a + 3 * down, a + 6 * down };   /* three rows from each */
#pragma GCC unroll 8
    for (int i = 0; i < tall; i++) {
        sum[i][0] = *(const vec *)(start + i * start_down);
        sum[i][1] = *(const vec *)(start + i * start_down + LANES);
    }
    for (int64_t k = 0; k < depth; k++, b += STRIP) {
        vec left = *(const vec *)b, right = *(const vec *)(b + LANES);
#pragma GCC unroll 8
        for (int i = 0; i < tall; i++) {
            float factor = row[i / 3][i % 3 * down];
            sum[i][0] += factor * left;
            sum[i][1] += factor * right;
        }
        row[0] += along, row[1] += along, row[2] += along;
    }
#pragma GCC unroll 8
    for (int i = 0; i < tall; i++) {
        *(vec *)(out + i * out_down) = sum[i][0];
        *(vec *)(out + i * out_down + LANES) = sum[i][1];
    }
}

/* The left factor: a (rows, depth), and where its columns lie far apart the same in_columns, else 0. */
typedef struct { const float *a, *columns; int64_t down, along, depth; } Left;

/* Add `deep` terms, from k on, to one strip of the columns; `wide` of them are there. */
static void one_strip(
    const Left *left, int64_t rows, int64_t wide, int64_t k, int64_t deep, const float *strip,
    const float *start, int64_t start_down, float *out, int64_t out_down
) {
    float edge[TALL * STRIP];
    for (int64_t i = 0, tall; i < rows; i += tall, start += tall * start_down, out += tall * out_down) {
        const float *a = left->a + i * left->down + k * left->along, *from = start;
        float *to = out;
        int64_t from_down = start_down, to_down = out_down;
        tall = rows - i >= TALL ? TALL : rows - i >= SHORT ? SHORT : 1;
        if (wide < STRIP) {
            for (int64_t r = 0; r < tall; r++) memcpy(edge + r * STRIP, start + r * start_down, 4 * wide);
            from = to = edge, from_down = to_down = STRIP;
        }
        if (tall == 1) tile(1, deep, a, 0, left->along, strip, from, from_down, to, to_down);
        else if (tall < TALL)
            tile(SHORT, deep, a, left->down, left->along, strip, from, from_down, to, to_down);
        else if (!left->columns) tile(TALL, deep, a, left->down, 1, strip, from, from_down, to, to_down);
        else {
            a = left->columns + i * left->depth + k * TALL;
            tile(TALL, deep, a, 1, TALL, strip, from, from_down, to, to_down);
        }
        if (wide < STRIP)
            for (int64_t r = 0; r < tall; r++) memcpy(out + r * out_down, edge + r * STRIP, 4 * wide);
    }
}

static void exact_product(
    int64_t rows, int64_t columns, int64_t depth, const float *a, int64_t down, int64_t along,
    const float *strips, const float *start, int64_t start_down, float *out, int64_t out_down, float *room
) {
    Left left = { a, along == 1 ? 0 : room, down, along, depth };
    if (left.columns) in_columns(room, a, rows, depth, along);
    for (int64_t n = 0; n < columns; n += STRIP, strips += depth * STRIP)
        for (int64_t k = 0; k < depth; k += DEPTH)
            one_strip(
                &left, rows, least(STRIP, columns - n), k, least(DEPTH, depth - k), strips + k * STRIP,
                k ? out + n : start + n, k ? out_down : start_down, out + n, out_down
            );
}
