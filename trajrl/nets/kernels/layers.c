/* What Python calls (nets/fused.py, fused_chain.py): a net, and a chain of denoising steps, forward and back.
   Each call returns 0, or 1 where there is no memory. */
#include "crew.h"

static void forward_share(Share *own) {
    const Call *call = own->call;
    for (int64_t e = own->member; e < own->members; e++) {
        lay_weights(call->net, &own->room, own->layer, e);
        for (int64_t low = own->row; low < own->rows; low += BLOCK)
            forward_block(
                call->net, &own->room, own->layer, e, low, own->rows, call->in, call->out, call->kept
            );
    }
}

int forward(const Net *net, const Layer *layer, const float *x, float *out, float *kept) {
    return shared(&(Call){ net, layer, forward_share, .in = x, .out = out, .kept = kept });
}

static void backward_share(Share *own) {
    const Call *call = own->call;
    for (int64_t e = own->member; e < own->members; e++) {
        lay_weights_back(call->net, &own->room, own->layer, e);
        for (int64_t low = own->row; low < own->rows; low += BLOCK)
            backward_block(
                call->net, &own->room, own->layer, e, low, own->rows, call->in, call->g, call->kept, call->dx,
                low > own->row
            );
    }
}

/* What is summed over rows, dbias, dgain and dshift, begins at zero. */
int backward(const Net *net, const Layer *layer, const float *x, const float *g, float *kept, float *dx) {
    return shared(&(Call){ net, layer, backward_share, .in = x, .g = g, .kept = kept, .dx = dx });
}

/* A chain: x_{j+1} = c1 clip(x0_j) + c2 x_j + s z_{j+1},  x0_j = (keep x_j - sigma net(x_j, temb_j)) inverse
   with (keep, sigma, inverse) = (1, sigma, 1 / alpha) of a net of noise, (0, -1, 1) of a net of actions. */

typedef struct { float keep, sigma, inverse, c1, c2, s; } Step;
struct Chain { int64_t steps, actions; const Step *step; };
typedef struct Chain Chain;

static float clipped(float x) { return x < -1 ? -1 : x > 1 ? 1 : x; }

static void chain_forward_share(Share *own) {
    const Call *call = own->call;
    const Net *net = call->net;
    int64_t rows = net->rows, wide = net->width[0], act = call->chain->actions, size = rows * act;
    int64_t kept_step = call->kept ? kept_size(net) : 0;
    float *x = call->x, *clean = call->clean;
    lay_weights(net, &own->room, own->layer, 0);
    for (int64_t r = own->row; r < own->rows; r++)
        memcpy(x + r * wide, call->noise + r * act, sizeof(float) * act);
    for (int64_t j = 0; j < call->chain->steps; j++, x += rows * wide, clean += size) {
        const Step at = call->chain->step[j];
        for (int64_t r = own->row; r < own->rows; r++)
            memcpy(x + r * wide + act, call->temb + j * (wide - act), sizeof(float) * (wide - act));
        for (int64_t low = own->row; low < own->rows; low += BLOCK)
            forward_block(
                net, &own->room, own->layer, 0, low, own->rows, x, clean,
                call->kept ? call->kept + j * kept_step : 0
            );
        for (int64_t r = own->row; r < own->rows; r++)
            for (int64_t i = 0; i < act; i++) {
                float now = x[r * wide + i], *x0 = clean + r * act + i, next;
                *x0 = ((at.keep ? now : 0) - at.sigma * *x0) * at.inverse;
                next = clipped(*x0) * at.c1 + at.c2 * now;
                if (at.s) next += at.s * call->noise[(j + 1) * size + r * act + i];
                x[(rows + r) * wide + i] = next;
            }
    }
    for (int64_t r = own->row; r < own->rows; r++)
        for (int64_t i = 0; i < act; i++)
            call->out[r * act + i] = clipped(x[r * wide + i]);
}

/* x (steps + 1, rows, actions + time) holds every step's input, clean (steps, rows, actions) every x0 before
   its clip; the last place of x is the end, before its clip. */
int chain_forward(
    const Net *net, const Layer *layer, const Chain *chain, const float *temb, const float *noise, float *x,
    float *clean, float *kept, float *out
) {
    return shared(&(Call){
        net, layer, chain_forward_share, chain, .temb = temb, .noise = noise, .x = x, .clean = clean,
        .kept = kept, .out = out,
    });
}

static int within(float x) { return x >= -1 && x <= 1; }

static void chain_backward_share(Share *own) {
    const Call *call = own->call;
    const Net *net = call->net;
    int64_t rows = net->rows, wide = net->width[0], act = call->chain->actions, size = rows * act;
    int64_t first = own->row * act, past = own->rows * act;
    float *dx = call->own, *dnet = dx + size, *din = dnet + size;
    const float *end = call->x + call->chain->steps * rows * wide;
    lay_weights_back(net, &own->room, own->layer, 0);
    for (int64_t r = own->row; r < own->rows; r++)
        for (int64_t i = 0; i < act; i++)
            dx[r * act + i] = within(end[r * wide + i]) ? call->g[r * act + i] : 0;
    for (int64_t j = call->chain->steps - 1; j >= 0; j--) {
        const Step at = call->chain->step[j];
        for (int64_t i = first; i < past; i++) {
            float dclean = within(call->clean[j * size + i]) ? dx[i] * at.c1 * at.inverse : 0;
            dnet[i] = -at.sigma * dclean;
            dx[i] = at.c2 * dx[i] + at.keep * dclean;
        }
        for (int64_t low = own->row; low < own->rows; low += BLOCK)
            backward_block(
                net, &own->room, own->layer, 0, low, own->rows, call->x + j * rows * wide, dnet,
                call->kept + j * kept_size(net), din, j + 1 < call->chain->steps || low > own->row
            );
        for (int64_t r = own->row; r < own->rows; r++) {
            for (int64_t i = 0; i < act; i++) dx[r * act + i] += din[r * wide + i];
            for (int64_t i = act; i < wide; i++) own->dtemb[j * (wide - act) + i - act] += din[r * wide + i];
        }
    }
}

/* own (rows, 2 actions + actions + time) is memory for the gradients of a step; dtemb (steps, time) and what
   else is summed begins at zero. */
int chain_backward(
    const Net *net, const Layer *layer, const Chain *chain, const float *g, const float *x,
    const float *clean, float *kept, float *own, float *dtemb
) {
    return shared(&(Call){
        net, layer, chain_backward_share, chain, .g = g, .x = (float *)x, .clean = (float *)clean,
        .kept = kept, .own = own, .dtemb = dtemb, .times = chain->steps * (net->width[0] - chain->actions),
    });
}
