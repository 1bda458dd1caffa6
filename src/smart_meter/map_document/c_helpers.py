"""The C header's fixed part: the same for every map, plain C99 that is C++11 as well.

Engineering values are doubles: 53 bits hold every int32 and uint32 exactly, the 24 bits of a float do not.
Rounding is written out, since a board's `nearbyint` may be missing or in another mode. The result of each
step is a volatile, so that no compiler merges it with the next step (a fused multiply-add rounds once where
Python rounds twice).
"""

HELPERS = """\
#ifndef SMART_METER_MAP_HELPERS_1
#define SMART_METER_MAP_HELPERS_1

#if DBL_MANT_DIG != 53 || FLT_MANT_DIG != 24
#error "This board's double has fewer than 64 bits: use an ESP32 or an Opta, not an AVR"
#endif
#if defined(__FAST_MATH__)
#error "Compile without -ffast-math, which breaks not-a-number"
#endif
#if defined(FLT_EVAL_METHOD)
#if FLT_EVAL_METHOD == 2
#error "This target computes in more than 64 bits; compile with -msse2 -mfpmath=sse"
#endif
#endif

/* The status block: input registers (function code 04), the same for every meter. */
@STATUS@

/*
 * Below this line: used by the functions of each meter, not meant to be called.
 */

static inline uint32_t smart_meter_detail_join(uint16_t high, uint16_t low) {
    return ((uint32_t)high << 16) | low;
}

static inline uint16_t smart_meter_detail_high(uint32_t stored) {
    return (uint16_t)(stored >> 16);
}

static inline uint16_t smart_meter_detail_low(uint32_t stored) {
    return (uint16_t)(stored & 0xFFFFu);
}

/* (value - offset) * scale, each step rounded to a double. */
static inline double smart_meter_detail_scaled(double value, double scale, double offset) {
    volatile double difference = value - offset;
    volatile double product = difference * scale;
    return product;
}

/* stored / scale + offset, each step rounded to a double. */
static inline double smart_meter_detail_value(double stored, double scale, double offset) {
    volatile double quotient = stored / scale;
    volatile double sum = quotient + offset;
    return sum;
}

/* The value of a number in two's complement; span is 2 to the power of its bits. */
static inline double smart_meter_detail_signed(uint32_t stored, double span) {
    double number = (double)stored;
    return number < span / 2 ? number : number - span;
}

/* Rounds half to even. False if the result is outside low to high, or not-a-number. */
static inline bool smart_meter_detail_integer(
    double value, double scale, double offset, int64_t low, int64_t high, uint32_t *stored) {
    double scaled = smart_meter_detail_scaled(value, scale, offset);
    double rest;
    int64_t whole;
    if (!(scaled >= (double)low - 1.0 && scaled <= (double)high + 1.0)) {
        return false;
    }
    whole = (int64_t)scaled;
    rest = scaled - (double)whole;
    if (rest > 0.5 || (rest == 0.5 && whole % 2 != 0)) {
        whole += 1;
    } else if (rest < -0.5 || (rest == -0.5 && whole % 2 != 0)) {
        whole -= 1;
    }
    if (whole < low || whole > high) {
        return false;
    }
    *stored = (uint32_t)((uint64_t)whole & 0xFFFFFFFFu);
    return true;
}

/* False if a finite number is too large for a float32; infinities and not-a-number are stored. */
static inline bool smart_meter_detail_float32(double value, double scale, double offset, uint32_t *stored) {
    /* Halfway between the largest float32 and the next power of two: from here on, it rounds to infinity. */
    const double too_much = 3.4028235677973366e+38;
    double scaled = smart_meter_detail_scaled(value, scale, offset);
    float single;
    if ((scaled >= too_much && scaled <= DBL_MAX) || (scaled <= -too_much && scaled >= -DBL_MAX)) {
        return false;
    }
    single = (float)scaled;
    memcpy(stored, &single, sizeof single);
    return true;
}

static inline double smart_meter_detail_number(uint32_t stored) {
    float single;
    memcpy(&single, &stored, sizeof single);
    return (double)single;
}

static inline bool smart_meter_detail_is_nan(uint32_t stored) {
    return (stored & 0x7FFFFFFFu) > 0x7F800000u;
}

#endif /* SMART_METER_MAP_HELPERS_1 */
"""
