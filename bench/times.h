/* A histogram of times: exact to 0.1 us below 100 ms, and to 100 us from there to 100 s. */
#ifndef TIMES_H
#define TIMES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { FINE_NS = 100, FINE_BINS = 1000000, COARSE_NS = 100000, COARSE_BINS = 1000000 };

struct times {
    int64_t slowest;
    uint32_t *fine, *coarse;
};

/* Return whether there is memory for it. */
static inline bool times_init(struct times *times)
{
    times->slowest = 0;
    times->fine = calloc(FINE_BINS, sizeof *times->fine);
    times->coarse = calloc(COARSE_BINS, sizeof *times->coarse);
    return times->fine != NULL && times->coarse != NULL;
}

static inline void times_add(struct times *times, int64_t took)
{
    if (took > times->slowest)
        times->slowest = took;
    if (took < (int64_t)FINE_NS * FINE_BINS)
        times->fine[took / FINE_NS]++;
    else {
        int64_t bin = took / COARSE_NS;
        times->coarse[bin < COARSE_BINS ? bin : COARSE_BINS - 1]++;
    }
}

/* Microseconds within which this part of the times lies; 0 if there are none. */
static inline double times_percentile(const struct times *times, double part)
{
    uint64_t total = 0, seen = 0;

    for (int i = 0; i < FINE_BINS; i++)
        total += times->fine[i];
    for (int i = 0; i < COARSE_BINS; i++)
        total += times->coarse[i];
    if (total == 0)
        return 0;
    const uint64_t wanted = (uint64_t)(part * (double)total + 0.999999999);
    for (int i = 0; i < FINE_BINS; i++)
        if ((seen += times->fine[i]) >= wanted)
            return (i + 0.5) * FINE_NS / 1e3;
    for (int i = 0; i < COARSE_BINS; i++)
        if ((seen += times->coarse[i]) >= wanted)
            return (i + 0.5) * COARSE_NS / 1e3;
    return (double)times->slowest / 1e3;
}

#endif
