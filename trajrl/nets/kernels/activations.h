/* Activations f and 1 - f', of which the way back is one product, in one pass over memory:

       mish(x) = x n / (n + 2),   n = e (e + 2),   e = exp x
       1 - mish'(x) = 2 / (n + 2) (1 - 2 x e (e + 1) / (n + 2))
       gelu(x) = x sigmoid(2 u),  u = sqrt(2 / pi) (x + 0.044715 x^3),  silu(x) = x sigmoid(x)
*/
#pragma once

#include <stdint.h>

#define GELU_SCALE 1.5957691216f                               /* 2 sqrt(2 / pi) */
#define GELU_CUBE 0.044715f

static inline float exponential(float x) {      /* of -87 .. 87, to one and a half units of the last place */
    float k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;       /* the nearest whole number */
    float f = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    union { int32_t bits; float number; } scale = { ((int32_t)k + 127) << 23 };
    return p * scale.number;
}

static inline float both(float x, float *rest) {
    float low = x > 20.0f ? 20.0f : x;           /* a comparison with NaN is false: it stays NaN */
    low = low < -87.0f ? -87.0f : low;
    float above = x < -87.0f ? -87.0f : x;
    float e = exponential(low);
    float n = e * (e + 2.0f), share = 1.0f / (n + 2.0f);
    *rest = 2.0f * share * (1.0f - 2.0f * low * (e * (e + 1.0f) * share));
    return above * (n * share);
}

/* x sigmoid(u), u of slope `slope`; rest is 1 less its derivative s + x s (1 - s) u'. */
static inline float gated(float x, float u, float slope, float *rest) {
    float low = u > 87.0f ? 87.0f : u;
    low = low < -87.0f ? -87.0f : low;
    float s = 1.0f / (1.0f + exponential(-low));
    *rest = 1.0f - s * (1.0f + x * (1.0f - s) * slope);
    return x * s;
}

static inline float widened(uint16_t half) {
    union { uint32_t bits; float number; } whole = { (uint32_t)half << 16 };
    return whole.number;
}

static inline uint16_t rounded(float number) {
    union { float number; uint32_t bits; } whole = { number };
    return (uint16_t)((whole.bits + 0x7FFFu + ((whole.bits >> 16) & 1u)) >> 16);
}

void mish_float32(const float *restrict x, float *restrict y, int64_t count) {
    float rest;
    for (int64_t i = 0; i < count; i++) y[i] = both(x[i], &rest);
}

void mish_and_rest_float32(const float *restrict x, float *restrict y, float *restrict rest, int64_t count) {
    for (int64_t i = 0; i < count; i++) y[i] = both(x[i], &rest[i]);
}

void mish_bfloat16(const uint16_t *restrict x, uint16_t *restrict y, int64_t count) {
    float rest;
    for (int64_t i = 0; i < count; i++) y[i] = rounded(both(widened(x[i]), &rest));
}

void mish_and_rest_bfloat16(
    const uint16_t *restrict x, uint16_t *restrict y, uint16_t *restrict rest, int64_t count
) {
    for (int64_t i = 0; i < count; i++) {
        float r;
        y[i] = rounded(both(widened(x[i]), &r));
        rest[i] = rounded(r);
    }
}
