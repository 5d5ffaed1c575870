/* The layers of an ensemble of perceptrons, forward and back:

       z_l = h_{l-1} W_l + b_l,   h_l = f(z_l), norm(f(z_l)) or f(norm(z_l)),   h_0 = x, out = z_L
       norm(z) = gain (z - mean) / sqrt(variance + eps) + shift

   Rows go through in blocks that stay in the cache.  Products are of float32, or where `fast` of factors in
   bfloat16 (tiles.h).  What the way back needs is kept: h_l, 1 - f', and of a norm its rows and their scale.
*/
#pragma once

#include <stdlib.h>

#include "exact.h"
#include "rows.h"
#include "tiles.h"

enum { NONE, BEFORE, AFTER };
enum { BLOCK = 256, MOST = 16 };                               /* rows of a block; layers */

typedef struct {
    int64_t fast, activation, norm, members, rows, layers, threads;
    int64_t x_apart;                                           /* between two members' x, 0 where shared */
    int64_t bias_down;                                         /* of the first bias, 0 where rows share it */
    int64_t width[MOST + 1];
    int64_t apart[MOST], along_in[MOST], along_out[MOST];      /* steps of a weight: member, input, output */
    float eps;
} Net;

/* What belongs to one layer; gain and shift are of the norm after it.  Where no gradient is wanted, 0. */
enum { DWEIGHT, DBIAS, DGAIN, DSHIFT, SUMMED };
typedef struct { float *weight, *bias, *gain, *shift, *gradient[SUMMED]; } Layer;

typedef struct { float *h, *rest, *normal, *scale; } Kept;     /* of a layer's output, from one row on */

static int64_t kept_floats(const Net *net, int64_t layers) {   /* of one member's first hidden layers */
    int64_t found = 0;
    for (int64_t l = 1; l <= layers; l++) found += net->norm ? 3 * net->width[l] + 1 : 2 * net->width[l];
    return found * net->rows;
}

int64_t kept_size(const Net *net) { return net->members * kept_floats(net, net->layers - 1); }

static Kept kept_at(const Net *net, float *kept, int64_t member, int64_t l, int64_t row) {
    int64_t size = net->rows * net->width[l], at = row * net->width[l];
    kept += member * kept_floats(net, net->layers - 1) + kept_floats(net, l - 1);
    return (Kept){ kept + at, kept + size + at, kept + 2 * size + at, kept + 3 * size + row };
}

/* ---- memory of a thread, which grows to what its largest net wants ---- */

static _Thread_local struct { float *start; int64_t floats; } room;

static float *room_for(int64_t wanted) {
    if (wanted > room.floats) {
        free(room.start);
        room.start = aligned_alloc(64, sizeof(float) * upto(wanted, 16));
        room.floats = room.start ? wanted : 0;
    }
    return room.start;
}

static int64_t factor_size(int64_t count, int64_t depth) {     /* of either kind of product, in words */
    int64_t exact = depth * upto(count, STRIP), fast = upto(count, 2 * SIDE) * upto(depth, DEEP) / 2;
    return upto(exact > fast ? exact : fast, 16);
}

static int64_t widest(const Net *net) {
    int64_t found = BLOCK;
    for (int64_t l = 0; l <= net->layers; l++) found = net->width[l] > found ? net->width[l] : found;
    return upto(found, STRIP);
}

static int64_t weight_size(const Net *net, int64_t l) {        /* as either way wants it */
    int64_t on = factor_size(net->width[l + 1], net->width[l]);
    int64_t back = factor_size(net->width[l], net->width[l + 1]);
    return on > back ? on : back;
}

typedef struct { float *left, *right, *a, *b, *zeros, *unwanted, *weight[MOST]; } Room;

/* Floats for one member's factors, two factors of a product and two blocks of rows. */
static int64_t room_size(const Net *net) {
    int64_t wide = widest(net), weights = 0;
    for (int64_t l = 0; l < net->layers; l++) weights += weight_size(net, l);
    return upto(weights + 2 * factor_size(wide, wide) + 3 * BLOCK * wide + BLOCK + 2 * wide, SIDE);
}

static Room room_in(const Net *net, float *next) {
    Room found;
    int64_t wide = widest(net);
    for (int64_t l = 0; l < net->layers; l++) found.weight[l] = next, next += weight_size(net, l);
    found.left = next, next += factor_size(wide, wide);
    found.right = next, next += factor_size(wide, wide);
    found.zeros = next, next += wide;
    found.unwanted = next, next += wide;
    found.a = next, next += BLOCK * wide;
    found.b = next;                                            /* and after it a norm's rows and scale */
    memset(found.zeros, 0, sizeof(float) * wide);
    return found;
}

/* ---- products ---- */

static void lay_right(
    const Net *net, float *out, const float *b, int64_t depth, int64_t columns, int64_t down, int64_t along
) {
    if (net->fast) in_tiles((uint32_t *)out, b, columns, depth, along, down, 1);
    else in_strips(out, b, depth, columns, down, along);
}

/* out (rows, columns) = start + a b, with b laid out by lay_right. */
static void multiply(
    const Net *net, float *left, int64_t rows, int64_t columns, int64_t depth, const float *a, int64_t down,
    int64_t along, const float *right, const float *start, int64_t start_down, float *out
) {
    if (!net->fast) {
        exact_product(rows, columns, depth, a, down, along, right, start, start_down, out, columns, left);
        return;
    }
    uint32_t *tiles = (uint32_t *)left;
    in_tiles(tiles, a, rows, depth, down, along, 0);
    fast_product(rows, columns, depth, tiles, (const uint32_t *)right, start, start_down, out, columns);
}

static void lay_weights(const Net *net, const Room *room, const Layer *layer, int64_t e) {
    for (int64_t l = 0; l < net->layers; l++)
        lay_right(
            net, room->weight[l], layer[l].weight + e * net->apart[l], net->width[l], net->width[l + 1],
            net->along_in[l], net->along_out[l]
        );
}

static void lay_weights_back(const Net *net, const Room *room, const Layer *layer, int64_t e) {
    for (int64_t l = 0; l < net->layers; l++)
        lay_right(
            net, room->weight[l], layer[l].weight + e * net->apart[l], net->width[l + 1], net->width[l],
            net->along_out[l], net->along_in[l]
        );
}

/* ---- forward ---- */

/* Turn z (rows, width) into h, in place. */
static void between(
    const Net *net, const Layer *layer, int64_t e, float *z, const Kept *kept, int64_t rows, int64_t width
) {
    const float *gain = layer->gain + e * width, *shift = layer->shift + e * width;
    for (int64_t r = 0; r < rows; r++) {
        float *x = z + r * width, *normal = kept->normal + r * width;
        float *rest = kept->rest ? kept->rest + r * width : 0;
        if (net->norm == AFTER) activate(net->activation, x, rest, width);
        if (net->norm) kept->scale[r] = normalise(x, normal, gain, shift, width, net->eps);
        if (net->norm != AFTER) activate(net->activation, x, rest, width);
    }
}

static void forward_block(
    const Net *net, const Room *room, const Layer *layer, int64_t e, int64_t low, int64_t end, const float *x,
    float *out, float *kept
) {
    int64_t count = least(BLOCK, end - low), size = BLOCK * widest(net), last = net->layers - 1;
    const float *h = x + e * net->x_apart + low * net->width[0];
    for (int64_t l = 0; l <= last; l++) {
        int64_t from = net->width[l], to = net->width[l + 1], by_row = l ? 0 : net->bias_down;
        Kept own = { l % 2 ? room->a : room->b, 0, room->b + size, room->b + 2 * size };
        if (kept && l < last) own = kept_at(net, kept, e, l + 1, low);
        float *z = l < last ? own.h : out + (e * net->rows + low) * to;
        const float *bias = layer[l].bias + (by_row ? (e * net->rows + low) * to : e * to);
        multiply(net, room->left, count, to, from, h, from, 1, room->weight[l], bias, by_row, z);
        if (l < last) between(net, layer + l, e, z, &own, count, to);
        h = z;
    }
}

/* ---- back ---- */

/* Add to the gradient of a weight, which lies as the weight does, without gaps, or begin it. */
static void back_to_weight(
    const Net *net, const Room *room, const Layer *layer, int64_t l, int64_t e, int64_t count, const float *h,
    const float *g, int begun
) {
    int64_t from = net->width[l], to = net->width[l + 1], tall = net->along_out[l] == 1;  /* (in, out) */
    int64_t rows = tall ? from : to, columns = tall ? to : from;
    float *dweight = layer[l].gradient[DWEIGHT] + e * from * to;
    const float *start = begun ? dweight : room->zeros;
    lay_right(net, room->right, tall ? g : h, count, columns, columns, 1);
    multiply(
        net, room->left, rows, columns, count, tall ? h : g, 1, rows, room->right, start, begun ? columns : 0,
        dweight
    );
}

static void back_to_bias(
    const Net *net, const Layer *layer, int64_t l, int64_t e, int64_t low, int64_t count, const float *g
) {
    int64_t to = net->width[l + 1], by_row = l ? 0 : net->bias_down;
    float *restrict dbias = layer[l].gradient[DBIAS] + (by_row ? (e * net->rows + low) * to : e * to);
    for (int64_t r = 0; r < count; r++, dbias += by_row)
        for (int64_t i = 0; i < to; i++) dbias[i] += g[r * to + i];
}

/* Turn dh (count, width) into dz, in place. */
static void back_between(
    const Net *net, const Room *room, const Layer *layer, int64_t e, float *dh, const Kept *kept,
    int64_t count, int64_t width
) {
    const float *gain = layer->gain + e * width;
    float *dgain = layer->gradient[DGAIN] ? layer->gradient[DGAIN] + e * width : room->unwanted;
    float *dshift = layer->gradient[DSHIFT] ? layer->gradient[DSHIFT] + e * width : room->unwanted;
    for (int64_t r = 0; r < count; r++) {
        float *restrict g = dh + r * width;
        const float *restrict rest = kept->rest + r * width, *normal = kept->normal + r * width;
        if (net->norm == AFTER) back_through_norm(g, normal, kept->scale[r], gain, dgain, dshift, width);
        for (int64_t i = 0; i < width; i++) g[i] -= g[i] * rest[i];
        if (net->norm == BEFORE) back_through_norm(g, normal, kept->scale[r], gain, dgain, dshift, width);
    }
}

/* `begun`: the gradients of weights have terms of other rows already. */
static void backward_block(
    const Net *net, const Room *room, const Layer *layer, int64_t e, int64_t low, int64_t end, const float *x,
    const float *gradient, float *kept, float *dx, int begun
) {
    int64_t count = least(BLOCK, end - low);
    const float *g = gradient + (e * net->rows + low) * net->width[net->layers];
    for (int64_t l = net->layers - 1; l >= 0; l--) {
        int64_t from = net->width[l], to = net->width[l + 1];
        Kept own = { (float *)x + e * net->x_apart + low * from, 0, 0, 0 };
        if (l) own = kept_at(net, kept, e, l, low);
        if (layer[l].gradient[DWEIGHT]) back_to_weight(net, room, layer, l, e, count, own.h, g, begun);
        if (layer[l].gradient[DBIAS]) back_to_bias(net, layer, l, e, low, count, g);
        if (!l && !dx) return;
        float *dh = l ? (l % 2 ? room->a : room->b) : dx + (e * net->rows + low) * from;
        multiply(net, room->left, count, from, to, g, to, 1, room->weight[l], room->zeros, 0, dh);
        if (l) back_between(net, room, layer + l - 1, e, dh, &own, count, from);
        g = dh;
    }
}
