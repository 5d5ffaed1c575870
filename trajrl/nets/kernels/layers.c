/* What Python calls (nets/fused.py, fused_chain.py): a net, and a chain of denoising steps, forward and back.
   Each call returns 0, or 1 where there is no memory. */
#include "layers.h"

int forward(const Net *net, const Layer *layer, const float *x, float *out, float *kept) {
    Room room;
    Setting before;
    if (!find_room(net, &room)) return 1;
    if (net->fast) open_tiles(&before);
    for (int64_t e = 0; e < net->members; e++) {
        lay_weights(net, &room, layer, e);
        for (int64_t low = 0; low < net->rows; low += BLOCK)
            forward_block(net, &room, layer, e, low, x, out, kept);
    }
    if (net->fast) close_tiles(&before);
    return 0;
}

/* What is summed over rows, dbias, dgain and dshift, begins at zero. */
int backward(const Net *net, const Layer *layer, const float *x, const float *g, float *kept, float *dx) {
    Room room;
    Setting before;
    if (!find_room(net, &room)) return 1;
    if (net->fast) open_tiles(&before);
    for (int64_t e = 0; e < net->members; e++) {
        lay_weights_back(net, &room, layer, e);
        for (int64_t low = 0; low < net->rows; low += BLOCK)
            backward_block(net, &room, layer, e, low, x, g, kept, dx, 0);
    }
    if (net->fast) close_tiles(&before);
    return 0;
}

/* A chain: x_{j+1} = c1 clip(x0_j) + c2 x_j + s z_{j+1},  x0_j = (keep x_j - sigma net(x_j, temb_j)) inverse with
   (keep, sigma, inverse) = (1, sigma, 1 / alpha) of a net of noise, (0, -1, 1) of a net of actions. */

typedef struct { float keep, sigma, inverse, c1, c2, s; } Step;
typedef struct { int64_t steps, actions; const Step *step; } Chain;

static float clipped(float x) { return x < -1 ? -1 : x > 1 ? 1 : x; }

/* x (steps + 1, rows, actions + time) holds every step's input, clean (steps, rows, actions) every x0 before
   its clip; the last place of x is the end, before its clip. */
int chain_forward(
    const Net *net, const Layer *layer, const Chain *chain, const float *temb, const float *noise, float *x,
    float *clean, float *kept, float *out
) {
    Room room;
    Setting before;
    int64_t rows = net->rows, wide = net->width[0], act = chain->actions, size = rows * act;
    int64_t kept_step = kept ? kept_size(net) : 0;
    if (!find_room(net, &room)) return 1;
    if (net->fast) open_tiles(&before);
    lay_weights(net, &room, layer, 0);
    for (int64_t r = 0; r < rows; r++) memcpy(x + r * wide, noise + r * act, sizeof(float) * act);
    for (int64_t j = 0; j < chain->steps; j++, x += rows * wide, clean += size) {
        const Step at = chain->step[j];
        for (int64_t r = 0; r < rows; r++)
            memcpy(x + r * wide + act, temb + j * (wide - act), sizeof(float) * (wide - act));
        for (int64_t low = 0; low < rows; low += BLOCK)
            forward_block(net, &room, layer, 0, low, x, clean, kept ? kept + j * kept_step : 0);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < act; i++) {
                float now = x[r * wide + i], *x0 = clean + r * act + i, next;
                *x0 = ((at.keep ? now : 0) - at.sigma * *x0) * at.inverse;
                next = clipped(*x0) * at.c1 + at.c2 * now;
                if (at.s) next += at.s * noise[(j + 1) * size + r * act + i];
                x[(rows + r) * wide + i] = next;
            }
    }
    if (net->fast) close_tiles(&before);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < act; i++)
            out[r * act + i] = clipped(x[r * wide + i]);
    return 0;
}

static int within(float x) { return x >= -1 && x <= 1; }

/* own (rows, 2 actions + actions + time) is memory for the gradients of a step; dtemb (steps, time) and what
   else is summed begins at zero. */
int chain_backward(
    const Net *net, const Layer *layer, const Chain *chain, const float *g, const float *x,
    const float *clean, float *kept, float *own, float *dtemb
) {
    Room room;
    Setting before;
    int64_t rows = net->rows, wide = net->width[0], act = chain->actions, size = rows * act;
    float *dx = own, *dnet = dx + size, *din = dnet + size;
    if (!find_room(net, &room)) return 1;
    if (net->fast) open_tiles(&before);
    lay_weights_back(net, &room, layer, 0);
    const float *end = x + chain->steps * rows * wide;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < act; i++) dx[r * act + i] = within(end[r * wide + i]) ? g[r * act + i] : 0;
    for (int64_t j = chain->steps - 1; j >= 0; j--) {
        const Step at = chain->step[j];
        for (int64_t i = 0; i < size; i++) {
            float dclean = within(clean[j * size + i]) ? dx[i] * at.c1 * at.inverse : 0;
            dnet[i] = -at.sigma * dclean;
            dx[i] = at.c2 * dx[i] + at.keep * dclean;
        }
        for (int64_t low = 0; low < rows; low += BLOCK)
            backward_block(
                net, &room, layer, 0, low, x + j * rows * wide, dnet, kept + j * kept_size(net), din,
                j + 1 < chain->steps
            );
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t i = 0; i < act; i++) dx[r * act + i] += din[r * wide + i];
            for (int64_t i = act; i < wide; i++) dtemb[j * (wide - act) + i - act] += din[r * wide + i];
        }
    }
    if (net->fast) close_tiles(&before);
    return 0;
}
