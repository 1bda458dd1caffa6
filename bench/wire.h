/* The requests of load.c, their replies, and the registers in them. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    REGISTERS = 8,
    READ = 3,
    WRITE_ONE = 6,
    WRITE = 16,
    MBAP = 6, /* bytes up to the end of the length field */
    SHORT_REQUEST = 12, /* a read, or a write of one register */
    WRITE_REQUEST = 13 + 2 * REGISTERS,
    READ_REPLY = 9 + 2 * REGISTERS,
    WRITE_REPLY = 12,
    TIMESTAMP = 6, /* the first register of the timestamp, the last value of a sample */
};

static const uint16_t preset[REGISTERS] = {250, 260, 485, 536, 850, 456, 22150, 5600};
/* The number of different values of each register before the timestamp: primes that the ranges of the default map hold. */
static const uint32_t periods[TIMESTAMP] = {19997, 19993, 14983, 19991, 1597, 997};
static const uint32_t first_timestamp = 1700000000u;

static inline void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* A register of the n-th sample. Each differs from that of the samples before and after, up to the 997th, so that a
 * mixture of two samples is never taken for one. */
static inline unsigned sample_register(uint32_t n, int i)
{
    const uint32_t timestamp = first_timestamp + n;

    if (i >= TIMESTAMP)
        return i == TIMESTAMP ? timestamp >> 16 : timestamp & 0xFFFF;
    return (unsigned)((uint64_t)n * (uint64_t)(i + 1) % periods[i]);
}

static inline void put_sample(uint8_t *at, uint32_t n)
{
    for (int i = 0; i < REGISTERS; i++)
        put16(at + 2 * i, sample_register(n, i));
}

/* Whether registers are the preset ones or, with `samples`, those of any sample. */
static inline bool registers_correct(const uint8_t *at, bool samples)
{
    uint8_t expected[2 * REGISTERS];

    for (int i = 0; i < REGISTERS; i++)
        put16(expected + 2 * i, preset[i]);
    if (memcmp(at, expected, sizeof expected) == 0)
        return true;
    if (!samples)
        return false;
    put_sample(expected, (get16(at + 2 * TIMESTAMP) << 16 | get16(at + 2 * TIMESTAMP + 2)) - first_timestamp);
    return memcmp(at, expected, sizeof expected) == 0;
}

/* Put a request for one sample, or for one register of it; return its length. */
static inline size_t put_request(uint8_t *at, uint8_t unit, int function, uint16_t transaction, uint32_t n, int i)
{
    const size_t length = function == WRITE ? WRITE_REQUEST : SHORT_REQUEST;

    put16(at, transaction);
    put16(at + 2, 0);
    put16(at + 4, (unsigned)length - MBAP);
    at[6] = unit;
    at[7] = (uint8_t)function;
    put16(at + 8, (unsigned)i);
    put16(at + 10, function == WRITE_ONE ? sample_register(n, i) : REGISTERS);
    if (function == WRITE) {
        at[12] = 2 * REGISTERS;
        put_sample(at + 13, n);
    }
    return length;
}

/* Whether a reply is the right one to such a request. `samples`: as for `registers_correct`. */
static inline bool reply_correct(const uint8_t *reply, size_t length, uint8_t unit, int function, uint32_t n, int i,
                                 bool samples)
{
    if (length < MBAP + 2 || reply[6] != unit || reply[7] != function)
        return false;
    if (function == READ)
        return length == READ_REPLY && reply[8] == 2 * REGISTERS && registers_correct(reply + 9, samples);
    return length == WRITE_REPLY && get16(reply + 8) == (unsigned)i &&
           get16(reply + 10) == (function == WRITE_ONE ? sample_register(n, i) : REGISTERS);
}

#endif
