/* Generates Modbus TCP load in one thread. It checks every reply and prints one JSON object.
 *
 *   load HOST PORT [--seconds S] [--warm-up S] [--count N] [--timeout S] [--unit N] [--first N]
 *        --group function=3|6|16,connections=N[,depth=N][,rate=N][,expect=preset|sample][,to=HOST][,from=SOURCE]
 *        [--group ...]
 *
 * It never sleeps, since waking it would cost the server time, especially with few requests in flight.
 *
 * All groups run in this one thread, so that the figures depend on the server and not on how the kernel divides a
 * CPU among load generators. Without a rate, a connection keeps `depth` requests in flight (closed loop). With a
 * rate, requests are due at fixed times independently of the server, and a request's time is measured from when it
 * was due (open loop).
 *
 * All requests read or write the eight holding registers 0 to 7: a read (3) or a write (16) all of them, a write of one
 * register (6) one after the other. The registers of a sample contain a counter (see wire.h), which starts at --first.
 * So no two samples are equal, and a torn one is detected. Readers expect the preset values or, with expect=sample,
 * also any complete sample.
 *
 * A request without a reply within --timeout is lost. Its connection is closed and opened again, as after the server
 * has closed one. Both count as closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "times.h"
#include "wire.h"

enum {
    MAX_DEPTH = 64,
    MAX_GROUPS = 4,
    BUFFER = 4096, /* more than MAX_DEPTH read replies */
    EVENTS = 256,
};

#define SECOND 1000000000LL

struct group {
    int function, connections, depth;
    double rate;
    bool expect_sample;
    struct in_addr to, from; /* 0.0.0.0: the program's HOST; the source address that the kernel picks */
    int64_t period_ns, due; /* open loop: nanoseconds between two requests; number of requests due so far */
    uint64_t sent, answered, in_window, wrong, lost, closed;
    uint64_t begun, written; /* samples of which a request was sent; of which the last one was answered */
    struct times times;
};

struct slot {
    int64_t since; /* 0: free */
    uint16_t transaction;
    uint32_t sample;
    int address; /* the first register */
};

struct connection {
    int fd; /* -1: to be opened again */
    int index, in_flight;
    int64_t turn; /* open loop: number of requests sent */
    struct group *group;
    uint16_t transaction;
    uint32_t sample; /* of which single registers are written, from the first to the last */
    int next; /* register of it */
    size_t filled;
    uint8_t received[BUFFER];
    struct slot slots[MAX_DEPTH];
};

static struct sockaddr_in server;
static uint8_t unit = 1;
static uint32_t counter;
static int64_t timeout_ns = 2 * SECOND, measured_from, started;
static uint64_t count_left = UINT64_MAX;
static bool stopping;
static int epoll_fd;
static int64_t total_in_flight;

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

static void record_time(struct group *group, int64_t took, int64_t now)
{
    if (now < measured_from)
        return;
    times_add(&group->times, took);
    if (!stopping)
        group->in_window++;
}

/* Close the connection; its requests in flight are lost. `maintain` opens it again. */
static void abandon(struct connection *connection)
{
    struct group *group = connection->group;

    close(connection->fd);
    connection->fd = -1;
    group->closed++;
    group->lost += (uint64_t)connection->in_flight;
    total_in_flight -= connection->in_flight;
    connection->in_flight = 0;
    connection->filled = 0;
    connection->next = 0;
    memset(connection->slots, 0, sizeof connection->slots);
}

/* Connect and add the connection to the epoll set. Return whether that succeeded. */
static bool open_connection(struct connection *connection)
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

/* Put the next request; return its length. The slot keeps what its reply is compared with. */
static size_t put_next(struct connection *connection, struct slot *slot, uint8_t *at)
{
    struct group *group = connection->group;

    slot->transaction = connection->transaction++;
    if (group->function != READ && connection->next == 0) {
        connection->sample = counter++;
        group->begun++;
    }
    slot->sample = connection->sample;
    slot->address = connection->next;
    if (group->function == WRITE_ONE)
        connection->next = (connection->next + 1) % REGISTERS;
    return put_request(at, unit, group->function, slot->transaction, slot->sample, slot->address);
}

/* Send as many requests as may be in flight, in one segment. */
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
            since = started + number * group->period_ns;
            connection->turn++;
        }
        int free_slot = connection->transaction % group->depth;
        while (connection->slots[free_slot].since != 0)
            free_slot = (free_slot + 1) % group->depth;
        connection->slots[free_slot].since = since;
        length += put_next(connection, &connection->slots[free_slot], out + length);
        connection->in_flight++;
        total_in_flight++;
        group->sent++;
        count_left--;
    }
    /* This always fits into an empty socket buffer, so a short write means that the server has stopped reading. */
    if (length > 0 && send(connection->fd, out, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length)
        abandon(connection);
}

/* Complete the request that a reply belongs to. Return whether there is one, and the reply is right. */
static bool complete(struct connection *connection, const uint8_t *reply, size_t length, int64_t now)
{
    struct group *group = connection->group;
    const unsigned transaction = get16(reply);

    for (int i = 0; i < group->depth; i++) {
        struct slot *slot = &connection->slots[(transaction + (unsigned)i) % (unsigned)group->depth];
        if (slot->since == 0 || slot->transaction != transaction)
            continue;
        const bool correct = reply_correct(reply, length, unit, group->function, slot->sample, slot->address,
                                           group->expect_sample);
        if (correct) {
            group->answered++;
            group->written += group->function == WRITE || slot->address == REGISTERS - 1;
            record_time(group, now - slot->since, now);
        }
        slot->since = 0;
        connection->in_flight--;
        total_in_flight--;
        return correct;
    }
    return false;
}

static void read_replies(struct connection *connection)
{
    struct group *group = connection->group;
    size_t at = 0;
    ssize_t got;

    if (connection->fd < 0) /* abandoned earlier in this round of events */
        return;
    got = recv(connection->fd, connection->received + connection->filled, BUFFER - connection->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        abandon(connection);
        return;
    }
    connection->filled += (size_t)got;
    const int64_t now = now_ns();
    while (connection->filled - at >= MBAP) {
        const uint8_t *reply = connection->received + at;
        const size_t length = MBAP + get16(reply + 4);
        if (get16(reply + 2) != 0 || length < MBAP + 2 || length > MBAP + 254) {
            group->wrong++;
            abandon(connection);
            return;
        }
        if (connection->filled - at < length)
            break;
        if (!complete(connection, reply, length, now))
            group->wrong++;
        at += length;
    }
    connection->filled -= at;
    memmove(connection->received, connection->received + at, connection->filled);
    send_requests(connection, now);
}

static void maintain(struct connection *connection, int64_t now)
{
    for (int i = 0; connection->in_flight > 0 && i < connection->group->depth; i++)
        if (connection->slots[i].since != 0 && now - connection->slots[i].since > timeout_ns) {
            abandon(connection);
            break;
        }
    if (connection->fd < 0 && !stopping && open_connection(connection))
        send_requests(connection, now_ns());
}

static void print_group(const struct group *group, double seconds, bool last)
{
    printf("{\"function\": %d, \"connections\": %d, \"depth\": %d, ", group->function, group->connections, group->depth);
    printf("\"requests\": %lu, \"seconds\": %.6f, \"rate\": %.1f, ", group->in_window, seconds,
           (double)group->in_window / seconds);
    printf("\"sent\": %lu, \"answered\": %lu, \"wrong\": %lu, \"lost\": %lu, \"closed\": %lu, ", group->sent,
           group->answered, group->wrong, group->lost, group->closed);
    printf("\"begun\": %lu, \"written\": %lu, ", group->begun, group->written);
    printf("\"p50\": %.2f, \"p99\": %.2f, \"p99_9\": %.2f, \"max\": %.2f}%s", times_percentile(&group->times, 0.5),
           times_percentile(&group->times, 0.99), times_percentile(&group->times, 0.999),
           (double)group->times.slowest / 1e3, last ? "" : ", ");
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
    if ((group.function != READ && group.function != WRITE && group.function != WRITE_ONE) || group.connections < 1 ||
        group.depth < 1 || group.depth > MAX_DEPTH) {
        fprintf(stderr, "load: a group has function 3, 6 or 16, 1 connection or more, depth 1 to %d\n", MAX_DEPTH);
        exit(2);
    }
    group.period_ns = group.rate > 0 ? (int64_t)(1e9 / group.rate) : 0;
    if (!times_init(&group.times))
        fail("calloc");
    return group;
}

/* Send all requests that are due. */
static void send_due(struct group *groups, int group_count, struct connection *connections)
{
    for (int g = 0; g < group_count; g++) {
        struct group *group = &groups[g];
        if (group->period_ns > 0 && !stopping) {
            const int64_t now = now_ns();
            while (started + group->due * group->period_ns <= now) {
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
    const int64_t ends = started + length, step = timeout_ns / 8;
    int64_t maintained = started, drained_by = INT64_MAX;

    for (int i = 0; i < total; i++)
        send_requests(&connections[i], now_ns());
    for (;;) {
        int64_t now = now_ns();
        if (!stopping && (now >= ends || count_left == 0)) {
            stopping = true;
            drained_by = now + timeout_ns + step;
        }
        if (stopping && (total_in_flight == 0 || now >= drained_by))
            break;
        if (now - maintained >= step) {
            maintained = now;
            for (int i = 0; i < total; i++)
                maintain(&connections[i], now);
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
            abandon(&connections[i]);
}

int main(int argc, char **argv)
{
    struct group groups[MAX_GROUPS];
    double seconds = 1, warm_up = 0;
    int group_count = 0, total = 0, next = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1UL); /* so that requests of an open loop are sent when they are due */
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
            return fprintf(stderr, "load: unknown or too many: %s\n", name), 2;
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
            if (!open_connection(&connections[next]))
                fail("connect");
        }
    started = now_ns();
    measured_from = started + (int64_t)(warm_up * 1e9);
    run(groups, group_count, connections, total, (int64_t)((warm_up + seconds) * 1e9));
    printf("{\"groups\": [");
    for (int g = 0; g < group_count; g++)
        print_group(&groups[g], seconds, g == group_count - 1);
    printf("]}\n");
    return 0;
}
