/* A call's work, shared among threads: an ensemble's members where they go up evenly, or else rows.

   Every thread but the first sums gradients over its rows for itself; they are added in the threads' order,
   so that as many threads give the same bits.  A row's own numbers do not depend on who makes them.  The
   threads are OpenMP's, torch's own team; compiled without it, one thread does every share in turn.
*/
#pragma once

#include "layers.h"

enum { FEWEST = 64, CREW = 64 };                               /* least rows of a share; most threads */

typedef struct Call Call;

/* Members and rows from the first up to the last, not with it; `floats` of sums are this share's own. */
typedef struct {
    const Call *call;
    Room room;
    Layer layer[MOST];
    int64_t member, members, row, rows, floats;
    float *dtemb, *sums;
} Share;

/* What a call is given; see layers.c. */
struct Call {
    const Net *net;
    const Layer *layer;
    void (*work)(Share *);
    const struct Chain *chain;
    const float *in, *temb, *noise, *g;
    float *x, *clean, *kept, *out, *dx, *own, *dtemb;
    int64_t times;                                             /* numbers in dtemb */
};

static int64_t crew_of(const Net *net, int *by_members) {
    int64_t threads = least(net->threads, CREW), rows = least(threads, net->rows / FEWEST);
    *by_members = threads > 1 && net->members % threads == 0 && net->members / threads * net->rows >= FEWEST;
    return *by_members ? threads : rows > 1 ? rows : 1;
}

/* How many numbers of the k-th gradient of layer l are sums over rows. */
static int64_t summed(const Net *net, const Layer *layer, int64_t l, int64_t k) {
    int64_t by_row = k == DBIAS && l == 0 && net->bias_down, size = net->members * net->width[l + 1];
    if (by_row || !layer[l].gradient[k]) return 0;
    return k == DWEIGHT ? size * net->width[l] : size;
}

static int64_t all_summed(const Call *call) {
    int64_t found = call->dtemb ? call->times : 0;
    for (int64_t l = 0; l < call->net->layers; l++)
        for (int64_t k = 0; k < SUMMED; k++) found += summed(call->net, call->layer, l, k);
    return found;
}

/* Give a share sums of its own, which begin at zero. */
static void own_sums(Share *share, float *next) {
    const Call *call = share->call;
    memset(next, 0, sizeof(float) * share->floats);
    share->sums = next;
    for (int64_t l = 0; l < call->net->layers; l++)
        for (int64_t k = 0, size; k < SUMMED; k++, next += size)
            if ((size = summed(call->net, call->layer, l, k))) share->layer[l].gradient[k] = next;
    if (call->dtemb) share->dtemb = next;
}

static void add(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

static void add_sums(const Call *call, const Share *share) {
    const float *next = share->sums;
    for (int64_t l = 0; l < call->net->layers; l++)
        for (int64_t k = 0, size; k < SUMMED; k++, next += size)
            if ((size = summed(call->net, call->layer, l, k)))
                add(call->layer[l].gradient[k], next, size);
    if (call->dtemb) add(call->dtemb, next, call->times);
}

/* Where the i-th of n shares of a count begins; rows go by tiles. */
static int64_t begins(int64_t count, int64_t i, int64_t n, int64_t step) {
    return i == n ? count : count * i / n / step * step;
}

static void worked(Share *share) {
    Setting before;
    if (share->call->net->fast) open_tiles(&before);
    share->call->work(share);
    if (share->call->net->fast) close_tiles(&before);
}

/* The i-th of n shares: some members with all rows, or some rows of all members. */
static Share share_of(const Call *call, int64_t i, int64_t n, int by_members) {
    const Net *net = call->net;
    Share own = { .call = call, .members = net->members, .rows = net->rows, .dtemb = call->dtemb };
    if (by_members) {
        own.member = begins(net->members, i, n, 1);
        own.members = begins(net->members, i + 1, n, 1);
    } else {
        own.row = begins(net->rows, i, n, SIDE);
        own.rows = begins(net->rows, i + 1, n, SIDE);
    }
    memcpy(own.layer, call->layer, sizeof(Layer) * net->layers);
    return own;
}

/* Do a call's work; 1 where there is no memory. */
static int shared(const Call *call) {
    int by_members;
    int64_t n = crew_of(call->net, &by_members), each = room_size(call->net);
    int64_t sums = by_members || n == 1 ? 0 : all_summed(call);
    float *memory = room_for(n * each + (n - 1) * sums);
    Share share[CREW];
    if (!memory) return 1;
    for (int64_t i = 0; i < n; i++) {
        share[i] = share_of(call, i, n, by_members);
        share[i].room = room_in(call->net, memory + i * each);
        share[i].floats = i ? sums : 0;
        if (share[i].floats) own_sums(share + i, memory + n * each + (i - 1) * sums);
    }
#if defined(_OPENMP)
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
#endif
    for (int64_t i = 0; i < n; i++) worked(share + i);
    for (int64_t i = 1; i < n; i++)
        if (share[i].floats) add_sums(call, share + i);
    return 0;
}
