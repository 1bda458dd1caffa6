/* Modbus TCP load on one thread: every reply is checked, and one JSON object is printed.
 *
 *   load HOST PORT [--seconds S] [--warm-up S] [--count N] [--timeout S] [--unit N] [--first N]
 *        --group function=3|16,connections=N[,depth=N][,rate=N][,expect=preset|sample][,to=HOST][,from=SOURCE]
 *        [--group ...]
 *
 * It never sleeps: a server would pay for waking it, and the more so the fewer requests are under way.
 *
 * Groups run side by side in the one thread, so that the figures tell of the server and not of how the kernel
 * shares a CPU among load generators. Without a rate a connection keeps `depth` requests in flight (closed loop).
 * With one, requests are due at fixed times, whatever the server does, and a request's time is counted from when
 * it was due (open loop).
 *
 * All read or write the eight holding registers 0 to 7. A write's registers carry a counter (see `sample`), which
 * begins at --first, so that no two writes are alike and a torn sample can be told from a whole one. Readers
 * expect the preset values, or, with expect=sample, those or any whole sample.
 *
 * A request without an answer within --timeout is lost: its connection is given up and a new one made, as for
 * one that the server closes. Both count as closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REGISTERS = 8,
    READ = 3,
    WRITE = 16,
    MBAP = 6, /* bytes up to the length field's end */
    READ_REQUEST = 12,
    WRITE_REQUEST = 13 + 2 * REGISTERS,
    READ_REPLY = 9 + 2 * REGISTERS,
    WRITE_REPLY = 12,
    MAX_DEPTH = 64,
    MAX_GROUPS = 4,
    BUFFER = 4096, /* more than MAX_DEPTH read replies */
    EVENTS = 256,
};

#define SECOND 1000000000LL

/* The histogram is exact to 0.1 us below 100 ms, and to 100 us from there to 100 s. */
enum { FINE_NS = 100, FINE_BINS = 1000000, COARSE_NS = 100000, COARSE_BINS = 1000000 };

struct group {
    int function, connections, depth;
    double rate;
    bool expect_sample;
    struct in_addr to, from; /* 0.0.0.0: the program's HOST; whatever source the kernel picks */
    int64_t period_ns, due; /* open loop: nanoseconds between two requests; how many were due so far */
    uint64_t sent, answered, in_window, wrong, lost, closed;
    int64_t slowest;
    uint32_t *fine, *coarse;
};

struct slot {
    int64_t since; /* 0: free */
    uint16_t transaction;
};

struct connection {
    int fd; /* -1: to be made anew */
    int index, in_flight;
    int64_t turn; /* open loop: how many of its requests were sent */
    struct group *group;
    uint16_t transaction;
    size_t filled;
    uint8_t received[BUFFER];
    struct slot slots[MAX_DEPTH];
};

static const uint16_t preset[REGISTERS] = {250, 260, 485, 536, 850, 456, 22150, 5600};

static struct sockaddr_in server;
static uint8_t unit = 1;
static uint32_t counter;
static int64_t timeout_ns = 2 * SECOND, measured_from, began;
static uint64_t count_left = UINT64_MAX;
static bool stopping;
static int epoll_fd;
static int64_t in_flight_in_all;

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* The n-th write's registers: each depends on n, so registers of two writes never pass for a sample. */
static void sample(uint32_t n, uint8_t *at)
{
    const uint32_t timestamp = 1700000000u + n;
    put16(at, n & 0xFFFF);
    put16(at + 2, n >> 16);
    put16(at + 4, (n & 0xFFFF) ^ 0x5A5A);
    put16(at + 6, (n >> 16) ^ 0xA5A5);
    put16(at + 8, (n * 2654435761u) >> 16);
    put16(at + 10, (n + 1) & 0xFFFF);
    put16(at + 12, timestamp >> 16);
    put16(at + 14, timestamp & 0xFFFF);
}

static bool registers_right(const struct group *group, const uint8_t *at)
{
    uint8_t right[2 * REGISTERS];

    for (int i = 0; i < REGISTERS; i++)
        put16(right + 2 * i, preset[i]);
    if (memcmp(at, right, sizeof right) == 0)
        return true;
    if (!group->expect_sample)
        return false;
    sample((uint32_t)(get16(at) | get16(at + 2) << 16), right);
    return memcmp(at, right, sizeof right) == 0;
}

static bool reply_right(const struct group *group, const uint8_t *reply, size_t length)
{
    if (group->function == READ)
        return length == READ_REPLY && reply[6] == unit && reply[7] == READ && reply[8] == 2 * REGISTERS &&
               registers_right(group, reply + 9);
    return length == WRITE_REPLY && reply[6] == unit && reply[7] == WRITE && get16(reply + 8) == 0 &&
           get16(reply + 10) == REGISTERS;
}

static void take_time(struct group *group, int64_t took, int64_t now)
{
    if (now < measured_from)
        return;
    if (took > group->slowest)
        group->slowest = took;
    if (took < (int64_t)FINE_NS * FINE_BINS)
        group->fine[took / FINE_NS]++;
    else {
        int64_t bin = took / COARSE_NS;
        group->coarse[bin < COARSE_BINS ? bin : COARSE_BINS - 1]++;
    }
    if (!stopping)
        group->in_window++;
}

/* Close the connection; its requests in flight are lost. `look_after` makes it anew. */
static void give_up(struct connection *connection)
{
    struct group *group = connection->group;

    close(connection->fd);
    connection->fd = -1;
    group->closed++;
    group->lost += (uint64_t)connection->in_flight;
    in_flight_in_all -= connection->in_flight;
    connection->in_flight = 0;
    connection->filled = 0;
    memset(connection->slots, 0, sizeof connection->slots);
}

/* Return whether the connection was made; it is in the epoll set then. */
static bool make_connection(struct connection *connection)
{
    struct timeval patience = {.tv_sec = 5};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = connection->group->from};
    struct sockaddr_in target = server;
    if (connection->group->to.s_addr != INADDR_ANY)
        target.sin_addr = connection->group->to;
    if (source.sin_addr.s_addr != INADDR_ANY && bind(fd, (struct sockaddr *)&source, sizeof source) != 0)
        fail("bind");
    if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0) {
        close(fd);
        return false;
    }
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
    connection->fd = fd;
    return true;
}

static size_t put_request(struct connection *connection, uint8_t *at)
{
    const int function = connection->group->function;

    put16(at, connection->transaction);
    put16(at + 2, 0);
    put16(at + 4, function == READ ? READ_REQUEST - MBAP : WRITE_REQUEST - MBAP);
    at[6] = unit;
    at[7] = (uint8_t)function;
    put16(at + 8, 0);
    put16(at + 10, REGISTERS);
    if (function == READ)
        return READ_REQUEST;
    at[12] = 2 * REGISTERS;
    sample(counter++, at + 13);
    return WRITE_REQUEST;
}

/* Send what the connection may have in flight, in one segment. */
static void send_requests(struct connection *connection, int64_t now)
{
    struct group *group = connection->group;
    uint8_t out[MAX_DEPTH * WRITE_REQUEST];
    size_t length = 0;

    if (connection->fd < 0)
        return;
    while (!stopping && connection->in_flight < group->depth && count_left > 0) {
        int64_t since = now;
        if (group->period_ns > 0) {
            int64_t number = connection->index + connection->turn * group->connections;
            if (number >= group->due)
                break;
            since = began + number * group->period_ns;
            connection->turn++;
        }
        int free_slot = connection->transaction % group->depth;
        while (connection->slots[free_slot].since != 0)
            free_slot = (free_slot + 1) % group->depth;
        connection->slots[free_slot] = (struct slot){since, connection->transaction};
        length += put_request(connection, out + length);
        connection->transaction++;
        connection->in_flight++;
        in_flight_in_all++;
        group->sent++;
        count_left--;
    }
    /* So little fits any socket's buffer: a short write means a server that reads no more. */
    if (length > 0 && send(connection->fd, out, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length)
        give_up(connection);
}

/* Return whether the reply belongs to a request in flight, which is done with now. */
static bool settle(struct connection *connection, unsigned transaction, int64_t now, bool right)
{
    struct group *group = connection->group;

    for (int i = 0; i < group->depth; i++) {
        struct slot *slot = &connection->slots[(transaction + (unsigned)i) % (unsigned)group->depth];
        if (slot->since == 0 || slot->transaction != transaction)
            continue;
        if (right) {
            group->answered++;
            take_time(group, now - slot->since, now);
        }
        slot->since = 0;
        connection->in_flight--;
        in_flight_in_all--;
        return true;
    }
    return false;
}

static void read_replies(struct connection *connection)
{
    struct group *group = connection->group;
    size_t at = 0;
    ssize_t got;

    if (connection->fd < 0) /* given up earlier in this round of events */
        return;
    got = recv(connection->fd, connection->received + connection->filled, BUFFER - connection->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        give_up(connection);
        return;
    }
    connection->filled += (size_t)got;
    const int64_t now = now_ns();
    while (connection->filled - at >= MBAP) {
        const uint8_t *reply = connection->received + at;
        const size_t length = MBAP + get16(reply + 4);
        if (get16(reply + 2) != 0 || length < MBAP + 2 || length > MBAP + 254) {
            group->wrong++;
            give_up(connection);
            return;
        }
        if (connection->filled - at < length)
            break;
        const bool right = reply_right(group, reply, length);
        if (!settle(connection, get16(reply), now, right) || !right)
            group->wrong++;
        at += length;
    }
    connection->filled -= at;
    memmove(connection->received, connection->received + at, connection->filled);
    send_requests(connection, now);
}

static void look_after(struct connection *connection, int64_t now)
{
    for (int i = 0; connection->in_flight > 0 && i < connection->group->depth; i++)
        if (connection->slots[i].since != 0 && now - connection->slots[i].since > timeout_ns) {
            give_up(connection);
            break;
        }
    if (connection->fd < 0 && !stopping && make_connection(connection))
        send_requests(connection, now_ns());
}

static double percentile_us(const struct group *group, double part)
{
    uint64_t total = 0, seen = 0;

    for (int i = 0; i < FINE_BINS; i++)
        total += group->fine[i];
    for (int i = 0; i < COARSE_BINS; i++)
        total += group->coarse[i];
    if (total == 0)
        return 0;
    const uint64_t wanted = (uint64_t)(part * (double)total + 0.999999999);
    for (int i = 0; i < FINE_BINS; i++)
        if ((seen += group->fine[i]) >= wanted)
            return (i + 0.5) * FINE_NS / 1e3;
    for (int i = 0; i < COARSE_BINS; i++)
        if ((seen += group->coarse[i]) >= wanted)
            return (i + 0.5) * COARSE_NS / 1e3;
    return (double)group->slowest / 1e3;
}

static void print_group(const struct group *group, double seconds, bool last)
{
    printf("{\"function\": %d, \"connections\": %d, \"depth\": %d, ", group->function, group->connections, group->depth);
    printf("\"requests\": %lu, \"seconds\": %.6f, \"rate\": %.1f, ", group->in_window, seconds,
           (double)group->in_window / seconds);
    printf("\"sent\": %lu, \"answered\": %lu, \"wrong\": %lu, \"lost\": %lu, \"closed\": %lu, ", group->sent,
           group->answered, group->wrong, group->lost, group->closed);
    printf("\"p50\": %.2f, \"p99\": %.2f, \"p99_9\": %.2f, \"max\": %.2f}%s", percentile_us(group, 0.5),
           percentile_us(group, 0.99), percentile_us(group, 0.999), (double)group->slowest / 1e3, last ? "" : ", ");
}

static struct group parse_group(char *text)
{
    enum { FUNCTION, CONNECTIONS, DEPTH, RATE, EXPECT, TO, FROM };
    static char *const names[] = {"function", "connections", "depth", "rate", "expect", "to", "from", NULL};
    struct group group = {.function = READ, .connections = 1, .depth = 1};
    char *value;

    while (*text != '\0') {
        const int name = getsubopt(&text, names, &value);
        if (value == NULL || name < 0) {
            fprintf(stderr, "load: a group has function, connections, depth, rate, expect, to and from,"
                            " each with a value\n");
            exit(2);
        }
        switch (name) {
        case FUNCTION:
            group.function = atoi(value);
            break;
        case CONNECTIONS:
            group.connections = atoi(value);
            break;
        case DEPTH:
            group.depth = atoi(value);
            break;
        case RATE:
            group.rate = atof(value);
            break;
        case TO:
        case FROM:
            if (inet_pton(AF_INET, value, name == TO ? &group.to : &group.from) != 1) {
                fprintf(stderr, "load: %s is not an IPv4 address\n", value);
                exit(2);
            }
            break;
        default:
            group.expect_sample = strcmp(value, "sample") == 0;
        }
    }
    if ((group.function != READ && group.function != WRITE) || group.connections < 1 || group.depth < 1 ||
        group.depth > MAX_DEPTH) {
        fprintf(stderr, "load: a group has function 3 or 16, 1 connection or more, depth 1 to %d\n", MAX_DEPTH);
        exit(2);
    }
    group.period_ns = group.rate > 0 ? (int64_t)(1e9 / group.rate) : 0;
    group.fine = calloc(FINE_BINS, sizeof *group.fine);
    group.coarse = calloc(COARSE_BINS, sizeof *group.coarse);
    if (group.fine == NULL || group.coarse == NULL)
        fail("calloc");
    return group;
}

/* Send what has become due by now. */
static void send_due(struct group *groups, int group_count, struct connection *connections)
{
    for (int g = 0; g < group_count; g++) {
        struct group *group = &groups[g];
        if (group->period_ns > 0 && !stopping) {
            const int64_t now = now_ns();
            while (began + group->due * group->period_ns <= now) {
                struct connection *connection = &connections[group->due % group->connections];
                group->due++;
                send_requests(connection, now);
            }
        }
        connections += group->connections;
    }
}

static void run(struct group *groups, int group_count, struct connection *connections, int total, int64_t length)
{
    struct epoll_event events[EVENTS];
    const int64_t ends = began + length, step = timeout_ns / 8;
    int64_t looked = began, drained_by = INT64_MAX;

    for (int i = 0; i < total; i++)
        send_requests(&connections[i], now_ns());
    for (;;) {
        int64_t now = now_ns();
        if (!stopping && (now >= ends || count_left == 0)) {
            stopping = true;
            drained_by = now + timeout_ns + step;
        }
        if (stopping && (in_flight_in_all == 0 || now >= drained_by))
            break;
        if (now - looked >= step) {
            looked = now;
            for (int i = 0; i < total; i++)
                look_after(&connections[i], now);
        }
        send_due(groups, group_count, connections);
        const int ready = epoll_wait(epoll_fd, events, EVENTS, 0);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++)
            read_replies(events[i].data.ptr);
    }
    for (int i = 0; i < total; i++)
        if (connections[i].in_flight > 0)
            give_up(&connections[i]);
}

int main(int argc, char **argv)
{
    struct group groups[MAX_GROUPS];
    double seconds = 1, warm_up = 0;
    int group_count = 0, total = 0, next = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1UL); /* requests of an open loop leave when they are due */
    server = (struct sockaddr_in){.sin_family = AF_INET};
    if (argc < 5 || argc % 2 == 0 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
        return fprintf(stderr, "load: usage: see the top of load.c\n"), 2;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    for (int i = 3; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--seconds") == 0)
            seconds = atof(value);
        else if (strcmp(name, "--warm-up") == 0)
            warm_up = atof(value);
        else if (strcmp(name, "--count") == 0)
            count_left = strtoull(value, NULL, 10);
        else if (strcmp(name, "--timeout") == 0)
            timeout_ns = (int64_t)(atof(value) * 1e9);
        else if (strcmp(name, "--unit") == 0)
            unit = (uint8_t)atoi(value);
        else if (strcmp(name, "--first") == 0)
            counter = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(name, "--group") == 0 && group_count < MAX_GROUPS)
            groups[group_count++] = parse_group(argv[i + 1]);
        else
            return fprintf(stderr, "load: unknown or once too often: %s\n", name), 2;
    }
    for (int g = 0; g < group_count; g++)
        total += groups[g].connections;
    struct connection *connections = calloc((size_t)total, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (connections == NULL || epoll_fd < 0)
        fail("start");
    for (int g = 0; g < group_count; g++)
        for (int i = 0; i < groups[g].connections; i++, next++) {
            connections[next].group = &groups[g];
            connections[next].index = i;
            if (!make_connection(&connections[next]))
                fail("connect");
        }
    began = now_ns();
    measured_from = began + (int64_t)(warm_up * 1e9);
    run(groups, group_count, connections, total, (int64_t)((warm_up + seconds) * 1e9));
    printf("{\"groups\": [");
    for (int g = 0; g < group_count; g++)
        print_group(&groups[g], seconds, g == group_count - 1);
    printf("]}\n");
    return 0;
}
