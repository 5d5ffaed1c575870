/* One row of a layer's output: activations and norms, forward and back. */
#pragma once

#include <math.h>

#include "activations.h"
#include "exact.h"

enum { MISH, RELU, GELU, SILU };

static float dot(const float *x, const float *y, int64_t count) {
    vec sum = { 0 };
    int64_t i = 0;
    float found = 0;
    for (; i + LANES <= count; i += LANES) sum += *(const vec *)(x + i) * *(const vec *)(y + i);
    for (; i < count; i++) found += x[i] * y[i];
    for (int j = 0; j < LANES; j++) found += sum[j];
    return found;
}

static float mean_of(const float *x, int64_t count) {
    vec sum = { 0 };
    int64_t i = 0;
    float found = 0;
    for (; i + LANES <= count; i += LANES) sum += *(const vec *)(x + i);
    for (; i < count; i++) found += x[i];
    for (int j = 0; j < LANES; j++) found += sum[j];
    return found / count;
}

static inline __attribute__((always_inline)) void activated(
    int64_t kind, float *restrict x, float *restrict rest, int64_t width, const int keep
) {
    float unused;
#define REST (keep ? &rest[i] : &unused)
    if (kind == MISH)
        for (int64_t i = 0; i < width; i++) x[i] = both(x[i], REST);
    else if (kind == RELU)
        for (int64_t i = 0; i < width; i++) {
            *REST = x[i] > 0 ? 0 : 1;
            x[i] = x[i] <= 0 ? 0 : x[i];
        }
    else if (kind == GELU)
        for (int64_t i = 0; i < width; i++) {
            float cube = GELU_CUBE * x[i] * x[i];
            x[i] = gated(x[i], GELU_SCALE * x[i] * (1 + cube), GELU_SCALE * (1 + 3 * cube), REST);
        }
    else
        for (int64_t i = 0; i < width; i++) x[i] = gated(x[i], x[i], 1, REST);
#undef REST
}

/* Turn a row x into f(x); rest becomes 1 - f', where it is wanted and not 0. */
static void activate(int64_t kind, float *x, float *rest, int64_t width) {
    if (rest) activated(kind, x, rest, width, 1);
    else activated(kind, x, rest, width, 0);
}

/* Normalise a row in place; `normal` keeps it as it is before gain and shift. */
static float normalise(
    float *restrict x, float *restrict normal, const float *restrict gain, const float *restrict shift,
    int64_t width, float eps
) {
    float mean = mean_of(x, width);
    for (int64_t i = 0; i < width; i++) normal[i] = x[i] - mean;
    float scale = 1.0f / sqrtf(dot(normal, normal, width) / width + eps);
    for (int64_t i = 0; i < width; i++) normal[i] *= scale, x[i] = normal[i] * gain[i] + shift[i];
    return scale;
}

static void back_through_norm(
    float *restrict g, const float *restrict normal, float scale, const float *restrict gain,
    float *restrict dgain, float *restrict dshift, int64_t width
) {
    for (int64_t i = 0; i < width; i++) dshift[i] += g[i], dgain[i] += g[i] * normal[i], g[i] *= gain[i];
    float mean = mean_of(g, width), slope = dot(g, normal, width) / width;
    for (int64_t i = 0; i < width; i++) g[i] = scale * (g[i] - mean - normal[i] * slope);
}
