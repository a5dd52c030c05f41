/*
 * load: a bounded load generator for the chat API that looks at every answer it gets.
 *
 *   load --port P [--port DIRECT] --body FILE [options]
 *
 *   --key KEY          sent as the bearer token
 *   --connections N    kept-alive connections per port, opened before the clock starts (default 16)
 *   --seconds S        for how long new requests are sent (default 5)
 *   --requests N       closed loop only: send at most so many
 *   --rate R           open loop: R requests a second to each port, whatever the answers do. With two ports they take
 *                      turns, so that both see the same weather. Without --rate: closed loop, each connection sends
 *                      its next request when the answer to the last is complete (one port only)
 *   --stream --chunks N --tokens T   what a good answer holds, see response.h
 *
 * Latency in the open loop counts from the moment when a request was due, so that a stall is charged to all requests
 * that it delayed. One JSON line goes to stdout; the first bad answers go to stderr.
 */
#define _GNU_SOURCE
#include "response.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TARGETS_MAX = 2, CONNECTIONS_MAX = 1024, REQUEST_MAX = 64 * 1024, READ_SIZE = 256 * 1024, SHOWN_MAX = 3 };
enum { DRAIN_SECONDS = 60, WAKE_MS = 100 };
static const int64_t SECOND = 1000000000;

struct samples {
    int64_t *ns;
    size_t count, capacity;
};

struct target {
    int port;
    char request[REQUEST_MAX];
    size_t request_length;
    struct connection *idle[CONNECTIONS_MAX]; /* a stack: the last used is the first to be used again */
    int idle_count, open_count;
    long ok, bad;
    const char *fault; /* of the first bad answer */
    struct samples latency, first_byte;
};

struct connection {
    int fd;
    struct target *target;
    bool busy;
    int64_t started, first_byte;
    struct response response;
};

static struct target targets[TARGETS_MAX];
static int target_count;
static struct expectation expected;
static const char *key = "none", *body_path;
static double seconds = 5, rate;
static int connections_per_target = 16;
static long request_limit = INT64_MAX;

static int epoll_fd, timer_fd;
static int64_t start_time, end_time;
static long issued, busy, reconnects, shown;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void sample(struct samples *samples, int64_t ns) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 1024;
        samples->ns = realloc(samples->ns, samples->capacity * sizeof *samples->ns);
        if (!samples->ns) die("out of memory");
    }
    samples->ns[samples->count++] = ns;
}

/* ---- connections --------------------------------------------------------------------------------------------- */

static void connect_to_target(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)c->target->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0) die("socket");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
}

static struct connection *open_connection(struct target *target) {
    if (target->open_count == CONNECTIONS_MAX) return NULL;
    struct connection *c = calloc(1, sizeof *c);
    if (!c) die("out of memory");
    c->target = target;
    connect_to_target(c);
    target->open_count++;
    return c;
}

static void reconnect(struct connection *c) {
    close(c->fd);
    connect_to_target(c);
    reconnects++;
}

static void put_idle(struct connection *c) { c->target->idle[c->target->idle_count++] = c; }

static struct connection *take_idle(struct target *target) {
    return target->idle_count ? target->idle[--target->idle_count] : open_connection(target);
}

/* ---- requests and answers ------------------------------------------------------------------------------------ */

static void begin(struct connection *c, int64_t started) {
    c->busy = true;
    c->started = started;
    c->first_byte = 0;
    response_reset(&c->response);
    busy++;
    issued++;
    /* A request is far smaller than a socket's buffer; a failure shows as the end of the connection. */
    if (send(c->fd, c->target->request, c->target->request_length, MSG_NOSIGNAL) < 0) return;
}

static void count_bad(struct target *target, const struct response *response, const char *fault) {
    target->bad++;
    if (!target->fault) target->fault = fault;
    if (shown++ < SHOWN_MAX)
        fprintf(stderr, "port %d: %s; head: %.300s; body of %zu bytes: %.300s\n", target->port, fault, response->head,
                response->body_length, response->body_length ? response->body : "");
}

static void finish(struct connection *c) {
    struct target *target = c->target;
    const char *fault = response_fault(&c->response, &expected);
    if (fault) {
        count_bad(target, &c->response, fault);
    } else {
        target->ok++;
        sample(&target->latency, now() - c->started);
        sample(&target->first_byte, c->first_byte - c->started);
    }
    c->busy = false;
    busy--;
    if (c->response.closes || c->response.stage != COMPLETE) reconnect(c);
}

static bool may_begin(void) { return issued < request_limit && (rate > 0 || now() < end_time); }

static void read_answer(struct connection *c) {
    static char bytes[READ_SIZE];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (!c->busy) {
        /* The server closed a connection that was kept for later, or talks when nobody asked. */
        if (got > 0) count_bad(c->target, &c->response, "bytes came after the end of an answer");
        reconnect(c);
        return;
    }
    size_t used = 0;
    if (got > 0) {
        used = response_feed(&c->response, bytes, (size_t)got);
        if (!c->first_byte && c->response.body_length) c->first_byte = now();
        if (c->response.stage != COMPLETE && !c->response.broken) return;
        if (c->response.stage == COMPLETE && used < (size_t)got)
            c->response.broken = "bytes came after the end of the answer";
    }
    finish(c);
    if (rate <= 0 && may_begin()) begin(c, now());
    else put_idle(c);
}

/* ---- the two loops ------------------------------------------------------------------------------------------- */

static int64_t due(long request) { return start_time + (int64_t)((double)request / (rate * target_count) * SECOND); }

static void set_timer(int64_t at) {
    struct itimerspec timer = {.it_value = {.tv_sec = at / SECOND, .tv_nsec = at % SECOND}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &timer, NULL) < 0) die("timerfd_settime");
}

static void begin_all_due(void) {
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("read timer");
    while (issued < request_limit && due(issued) <= now()) {
        struct target *target = &targets[issued % target_count];
        struct connection *c = take_idle(target);
        if (!c) {
            fprintf(stderr, "port %d: %d requests are waiting, that is enough\n", target->port, CONNECTIONS_MAX);
            exit(1);
        }
        begin(c, due(issued));
    }
    if (issued < request_limit) set_timer(due(issued));
}

static void begin_closed_loop(void) {
    while (targets[0].idle_count && may_begin()) begin(take_idle(&targets[0]), now());
}

static void run(void) {
    struct epoll_event events[CONNECTIONS_MAX], timer = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &timer) < 0) die("epoll_ctl");
    start_time = now();
    end_time = start_time + (int64_t)(seconds * SECOND);
    if (rate > 0) begin_all_due();
    else begin_closed_loop();
    while ((busy || may_begin()) && now() < end_time + DRAIN_SECONDS * SECOND) {
        int count = epoll_wait(epoll_fd, events, CONNECTIONS_MAX, WAKE_MS);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) read_answer(events[i].data.ptr);
            else begin_all_due();
        }
    }
}

/* ---- the report ---------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank, in microseconds; the samples are sorted. */
static double quantile(const struct samples *samples, double q) {
    if (!samples->count) return 0;
    size_t rank = (size_t)(q * (double)samples->count + 0.999999);
    return (double)samples->ns[rank ? rank - 1 : 0] / 1000;
}

static void print_samples(const char *name, struct samples *samples) {
    qsort(samples->ns, samples->count, sizeof *samples->ns, by_size);
    printf("\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, quantile(samples, 0.5),
           quantile(samples, 0.9), quantile(samples, 0.99), quantile(samples, 1));
}

static void report(double elapsed) {
    printf("{\"seconds\":%.3f,\"reconnects\":%ld,\"unfinished\":%ld,\"targets\":[", elapsed, reconnects, busy);
    for (struct target *target = targets; target < targets + target_count; target++) {
        printf("%s{\"port\":%d,\"ok\":%ld,\"bad\":%ld,\"fault\":\"%s\",", target == targets ? "" : ",", target->port,
               target->ok, target->bad, target->fault ? target->fault : "");
        print_samples("latency_us", &target->latency);
        printf(",");
        print_samples("first_byte_us", &target->first_byte);
        printf("}");
    }
    printf("]}\n");
}

/* ---- start --------------------------------------------------------------------------------------------------- */

static int usage(void) {
    fprintf(stderr, "usage: load --port P [--port DIRECT] --body FILE [--key KEY] [--connections N] [--seconds S]\n"
                    "            [--requests N | --rate R] [--stream --chunks N] [--tokens T]\n");
    return 2;
}

static bool read_options(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},     {"body", 1, NULL, 'b'}, {"key", 1, NULL, 'k'},    {"connections", 1, NULL, 'c'},
        {"seconds", 1, NULL, 's'},  {"rate", 1, NULL, 'r'}, {"stream", 0, NULL, 'S'}, {"chunks", 1, NULL, 'n'},
        {"requests", 1, NULL, 'q'}, {"tokens", 1, NULL, 't'}, {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'p':
            if (target_count == TARGETS_MAX) return false;
            targets[target_count++].port = atoi(optarg);
            break;
        case 'b': body_path = optarg; break;
        case 'k': key = optarg; break;
        case 'c': connections_per_target = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'q': request_limit = atol(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'S': expected.stream = true; break;
        case 'n': expected.chunks = atoi(optarg); break;
        case 't': expected.total_tokens = atol(optarg); break;
        default: return false;
        }
    if (rate > 0) request_limit = (long)(rate * seconds) * target_count;
    return body_path && target_count && (rate > 0 || target_count == 1) && connections_per_target > 0 &&
           connections_per_target <= CONNECTIONS_MAX;
}

static void render_request(struct target *target, const char *body, size_t length) {
    int head = snprintf(target->request, REQUEST_MAX,
                        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                        "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: surplus-bench\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        target->port, key, length);
    if (head < 0 || (size_t)head + length > REQUEST_MAX) {
        fprintf(stderr, "the body is too long\n");
        exit(2);
    }
    memcpy(target->request + head, body, length);
    target->request_length = (size_t)head + length;
}

static void prepare_targets(void) {
    static char body[REQUEST_MAX];
    FILE *file = fopen(body_path, "rb");
    if (!file) die(body_path);
    size_t length = fread(body, 1, sizeof body, file);
    fclose(file);
    for (struct target *target = targets; target < targets + target_count; target++) {
        render_request(target, body, length);
        for (int i = 0; i < connections_per_target; i++) put_idle(open_connection(target));
    }
}

int main(int argc, char **argv) {
    if (!read_options(argc, argv)) return usage();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    if ((timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) < 0) die("timerfd_create");
    prepare_targets();
    run();
    report((double)(now() - start_time) / SECOND);
    return 0;
}
