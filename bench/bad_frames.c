/* Sends invalid frames in turn, each over a separate connection.
 *
 *   bad_frames HOST SOURCE PORT RATE SECONDS FILE...
 *
 * If the server closes a connection, it is opened again at its frame's next turn. Replies are discarded. A frame is
 * skipped if the server does not read. Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 16, MAX_FRAME = 1 << 17 };

struct frame {
    int fd; /* -1: not connected */
    size_t length;
    unsigned char data[MAX_FRAME];
};

static struct frame frames[MAX_FILES];
static unsigned long sent, skipped, closed;

static void end(struct frame *frame)
{
    close(frame->fd);
    frame->fd = -1;
    closed++;
}

static void send_frame(struct frame *frame, const struct sockaddr_in *server, const struct sockaddr_in *source)
{
    unsigned char answer[4096];
    ssize_t got;

    while (frame->fd >= 0 && (got = recv(frame->fd, answer, sizeof answer, MSG_DONTWAIT)) <= 0) {
        if (got < 0 && errno == EAGAIN)
            break;
        end(frame);
    }
    if (frame->fd < 0) {
        frame->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (frame->fd < 0 || bind(frame->fd, (const struct sockaddr *)source, sizeof *source) != 0 ||
            connect(frame->fd, (const struct sockaddr *)server, sizeof *server) != 0) {
            perror("bad_frames: connect");
            exit(1);
        }
    }
    got = send(frame->fd, frame->data, frame->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (got > 0)
        sent++;
    else if (errno == EAGAIN)
        skipped++;
    else
        end(frame);
}

int main(int argc, char **argv)
{
    struct sockaddr_in server = {.sin_family = AF_INET}, source = {.sin_family = AF_INET};
    struct timespec due;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 7 || argc - 6 > MAX_FILES || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 ||
        inet_pton(AF_INET, argv[2], &source.sin_addr) != 1)
        return fprintf(stderr, "bad_frames: usage: bad_frames HOST SOURCE PORT RATE SECONDS FILE...\n"), 2;
    server.sin_port = htons((unsigned short)atoi(argv[3]));
    const double rate = atof(argv[4]);
    const long turns = (long)(rate * atof(argv[5]));
    const int count = argc - 6;
    for (int i = 0; i < count; i++) {
        FILE *file = fopen(argv[6 + i], "rb");
        if (file == NULL)
            return perror(argv[6 + i]), 1;
        frames[i].fd = -1;
        frames[i].length = fread(frames[i].data, 1, MAX_FRAME, file);
        fclose(file);
    }
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (long turn = 0; turn < turns; turn++) {
        send_frame(&frames[turn % count], &server, &source);
        due.tv_nsec += (long)(1e9 / rate);
        due.tv_sec += due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    printf("{\"sent\": %lu, \"skipped\": %lu, \"closed\": %lu}\n", sent, skipped, closed);
    return 0;
}
