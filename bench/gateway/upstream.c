/*
 * upstream: a model server that costs almost nothing, so that what is measured is the gateway in front of it.
 *
 *   upstream [--port N]        listens on 127.0.0.1; port 0 (the default) takes a free one; prints "port N"
 *
 * A POST is answered in the shape of the OpenAI chat API:
 *   - without "stream":true  one JSON body of about 1 KB;
 *   - with it                server-sent events. The tag [[chunks=N pace=P]] anywhere in the request says how many
 *                            content chunks and how many milliseconds lie between two writes; pace=0 writes the whole
 *                            stream at once. The usage event comes only if "include_usage":true was asked for.
 * A GET is answered with a list of one model, which serves health checks; GET /counts with how many POSTs to a path
 * that ends in "completions" have been read, answered to the end or not.
 *
 * One thread, epoll, HTTP/1.1 keep-alive. Answers are rendered once and sent from memory.
 */
#define _GNU_SOURCE
#include "answers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 64 * 1024, EVENTS_PER_WAIT = 256 };

struct connection {
    int fd;
    char in[REQUEST_MAX + 1]; /* ends in NUL */
    size_t in_length;
    char *out; /* what the socket would not take yet */
    size_t out_length, out_sent, out_capacity;
    const struct stream *stream; /* the paced stream under way, or NULL */
    int next_write;
    int pace_ms;
    long due_ms;
    struct connection *previous, *next; /* the list of connections with a paced stream */
};

static int epoll_fd;
static long generations;
static struct connection *paced; /* connections with a paced stream */

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

/* ---- sending ------------------------------------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) die("epoll_ctl");
}

/* Sends what the socket takes and keeps the rest for later; false when the peer is gone. */
static bool send_or_keep(struct connection *c, const char *bytes, size_t length) {
    if (c->out_length == 0) {
        ssize_t sent = send(c->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent > 0) bytes += sent, length -= (size_t)sent;
        if (length == 0) return true;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    if (c->out_length + length > c->out_capacity) {
        c->out_capacity = 2 * (c->out_length + length);
        c->out = realloc(c->out, c->out_capacity);
        if (!c->out) die("out of memory");
    }
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
    return true;
}

static bool send_kept(struct connection *c) {
    ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN;
    c->out_sent += (size_t)sent;
    if (c->out_sent == c->out_length) {
        c->out_sent = c->out_length = 0;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
    return true;
}

static bool refuse(struct connection *c, const char *status_line) {
    char answer[256];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status_line);
    return send_or_keep(c, answer, (size_t)length);
}

/* ---- paced streams ------------------------------------------------------------------------------------------- */

/* Streams that began together must not stay in step, or a gateway would get their chunks in batches: first writes are
 * spread over the pace. */
static void pace(struct connection *c, const struct stream *stream, int pace_ms) {
    static int begun;
    c->stream = stream;
    c->next_write = 0;
    c->pace_ms = pace_ms;
    c->due_ms = now_ms() + 1 + begun++ % pace_ms;
    c->previous = NULL;
    c->next = paced;
    if (paced) paced->previous = c;
    paced = c;
}

static void unpace(struct connection *c) {
    if (!c->stream) return;
    if (c->previous) c->previous->next = c->next;
    else paced = c->next;
    if (c->next) c->next->previous = c->previous;
    c->stream = NULL;
}

/* Makes every write that is due; false when the peer is gone. A finished stream leaves the list. */
static bool send_due(struct connection *c, long now) {
    const struct stream *stream = c->stream;
    while (c->due_ms <= now && c->next_write < stream->writes) {
        size_t from = c->next_write ? stream->write_end[c->next_write - 1] : 0;
        if (!send_or_keep(c, stream->bytes + from, stream->write_end[c->next_write] - from)) return false;
        c->next_write++;
        c->due_ms += c->pace_ms;
    }
    if (c->next_write == stream->writes) unpace(c);
    return true;
}

static int milliseconds_to_next_write(void) {
    if (!paced) return -1;
    long now = now_ms(), wait = 1000;
    for (struct connection *c = paced; c; c = c->next)
        if (c->due_ms - now < wait) wait = c->due_ms - now;
    return wait > 0 ? (int)wait : 0;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

/* True if the JSON in text has the key (given with its quotes) with the value true. */
static bool is_true(const char *text, size_t length, const char *key) {
    const char *at = memmem(text, length, key, strlen(key));
    if (!at) return false;
    const char *end = text + length;
    at += strlen(key);
    while (at < end && (*at == ' ' || *at == ':')) at++;
    return at < end && *at == 't';
}

static bool answer_get(struct connection *c) {
    if (strncmp(c->in, "GET /counts ", 12) != 0) return send_or_keep(c, models_answer.bytes, models_answer.length);
    char body[64], answer[256];
    int size = snprintf(body, sizeof body, "{\"generations\":%ld}", generations);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, body);
    return send_or_keep(c, answer, (size_t)length);
}

static bool answer_post(struct connection *c, const char *body, size_t length) {
    const char *line_end = memchr(c->in, '\r', (size_t)(body - c->in));
    generations += line_end && memmem(c->in, (size_t)(line_end - c->in), "completions ", 12);
    if (!is_true(body, length, "\"stream\"")) return send_or_keep(c, json_answer.bytes, json_answer.length);
    int chunks = 32, pace_ms = 0;
    const char *tag = memmem(body, length, "[[chunks=", 9);
    if (tag) sscanf(tag, "[[chunks=%d pace=%d]]", &chunks, &pace_ms);
    const struct stream *stream = find_stream(chunks, is_true(body, length, "\"include_usage\""));
    if (!stream || pace_ms < 0) return refuse(c, "400 Bad Request");
    if (pace_ms == 0) return send_or_keep(c, stream->bytes, stream->length);
    pace(c, stream, pace_ms);
    return true;
}

/* The value of Content-Length, 0 if there is none, -1 for a chunked body, which this server does not read. */
static long body_length(const char *head, const char *end) {
    long length = 0;
    for (const char *line = head; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        if (*line == '\n') line++;
        if (strncasecmp(line, "content-length:", 15) == 0) length = strtol(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) return -1;
    }
    return length;
}

/* Answers every complete request that has been read; false when the connection has to be closed. */
static bool answer_requests(struct connection *c) {
    while (c->in_length > 0 && !c->stream) {
        const char *blank = memmem(c->in, c->in_length, "\r\n\r\n", 4);
        if (!blank) return c->in_length < REQUEST_MAX;
        long length = body_length(c->in, blank + 2);
        if (length < 0) {
            refuse(c, "411 Length Required");
            return false;
        }
        size_t head = (size_t)(blank + 4 - c->in), used = head + (size_t)length;
        if (used > REQUEST_MAX) return false;
        if (c->in_length < used) return true;
        bool get = strncmp(c->in, "GET ", 4) == 0;
        if (!(get ? answer_get(c) : answer_post(c, c->in + head, (size_t)length))) return false;
        memmove(c->in, c->in + used, c->in_length - used);
        c->in_length -= used;
    }
    return true;
}

static bool read_requests(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->in_length, REQUEST_MAX - c->in_length, MSG_DONTWAIT);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c->in_length += (size_t)got;
    c->in[c->in_length] = 0;
    return answer_requests(c);
}

/* ---- connections --------------------------------------------------------------------------------------------- */

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        if (!c) die("out of memory");
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void drop(struct connection *c) {
    unpace(c);
    close(c->fd);
    free(c->out);
    free(c);
}

static void send_all_due(void) {
    long now = now_ms();
    for (struct connection *c = paced, *next; c; c = next) {
        next = c->next;
        /* A client may have sent its next request before this stream ended. */
        if (!send_due(c, now) || (!c->stream && !answer_requests(c))) drop(c);
    }
}

static int listen_on_loopback(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, size) < 0) die("bind");
    if (listen(fd, 1024) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0) die("getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void serve(int listener) {
    struct epoll_event events[EVENTS_PER_WAIT], listening = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listening) < 0) die("epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, milliseconds_to_next_write());
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            bool alive = !(events[i].events & EPOLLOUT) || send_kept(c);
            if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = read_requests(c);
            if (!alive) drop(c);
        }
        if (paced) send_all_due();
    }
}

int main(int argc, char **argv) {
    int port = 0;
    if (argc == 3 && strcmp(argv[1], "--port") == 0) port = atoi(argv[2]);
    else if (argc != 1) return fprintf(stderr, "usage: upstream [--port N]\n"), 2;
    /* The driver may be killed; a server that nobody asks anything must not stay behind. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    render_fixed_answers();
    serve(listen_on_loopback(port));
}
