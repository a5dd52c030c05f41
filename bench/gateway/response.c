#define _GNU_SOURCE
#include "response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void response_reset(struct response *response) {
    response->stage = IN_HEAD;
    response->broken = NULL;
    response->status = 0;
    response->closes = false;
    response->head_length = response->line_length = response->remaining = response->body_length = 0;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- reading ------------------------------------------------------------------------------------------------- */

static void read_head(struct response *response) {
    bool chunked = false;
    long length = -1;
    response->status = strncmp(response->head, "HTTP/1.", 7) == 0 ? atoi(response->head + 9) : 0;
    for (const char *line = strchr(response->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0) length = strtol(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) chunked = true;
        if (strncasecmp(line, "connection: close", 17) == 0) response->closes = true;
    }
    if (response->status == 100) response_reset(response);
    else if (chunked) response->stage = IN_CHUNK_SIZE;
    else if (length < 0) response->broken = "neither Content-Length nor a chunked body";
    else response->remaining = (size_t)length, response->stage = length ? IN_BODY : COMPLETE;
}

static size_t feed_head(struct response *response, const char *bytes, size_t length) {
    size_t before = response->head_length, take = smaller(length, HEAD_MAX - before);
    memcpy(response->head + before, bytes, take);
    response->head[before + take] = 0;
    char *blank = strstr(response->head, "\r\n\r\n");
    if (!blank) {
        response->head_length += take;
        if (response->head_length == HEAD_MAX) response->broken = "the head is too long";
        return take;
    }
    *blank = 0;
    response->head_length = (size_t)(blank - response->head);
    size_t taken = response->head_length + 4 - before;
    read_head(response);
    return taken;
}

static void append_body(struct response *response, const char *bytes, size_t length) {
    size_t needed = response->body_length + length;
    if (needed > BODY_MAX) {
        response->broken = "the body is too long";
        return;
    }
    if (needed > response->body_capacity) {
        response->body_capacity = 2 * needed;
        response->body = realloc(response->body, response->body_capacity);
        if (!response->body) abort();
    }
    memcpy(response->body + response->body_length, bytes, length);
    response->body_length = needed;
}

static size_t feed_body(struct response *response, const char *bytes, size_t length) {
    size_t take = smaller(length, response->remaining);
    append_body(response, bytes, take);
    response->remaining -= take;
    if (response->remaining == 0) response->stage = response->stage == IN_CHUNK ? AFTER_CHUNK : COMPLETE;
    return take;
}

/* A whole line of the chunked framing: a size, the end of a chunk, or a line of the trailer. */
static void end_line(struct response *response) {
    size_t length = response->line_length;
    if (length && response->line[length - 1] == '\r') length--;
    response->line[length] = 0;
    response->line_length = 0;
    if (response->stage == IN_TRAILER) {
        if (length == 0) response->stage = COMPLETE;
    } else if (response->stage == AFTER_CHUNK) {
        if (length) response->broken = "a chunk is longer than its size says";
        response->stage = IN_CHUNK_SIZE;
    } else {
        char *end;
        response->remaining = strtoul(response->line, &end, 16);
        if (end == response->line) response->broken = "a chunk has no size";
        response->stage = response->remaining ? IN_CHUNK : IN_TRAILER;
    }
}

static size_t feed_line(struct response *response, const char *bytes, size_t length) {
    const char *newline = memchr(bytes, '\n', length);
    size_t take = newline ? (size_t)(newline - bytes) : length;
    if (response->line_length + take >= sizeof response->line) {
        response->broken = "a line of the chunked framing is too long";
        return length;
    }
    memcpy(response->line + response->line_length, bytes, take);
    response->line_length += take;
    if (!newline) return take;
    end_line(response);
    return take + 1;
}

size_t response_feed(struct response *response, const char *bytes, size_t length) {
    size_t taken = 0;
    while (taken < length && response->stage != COMPLETE && !response->broken) {
        const char *rest = bytes + taken;
        size_t left = length - taken;
        if (response->stage == IN_HEAD) taken += feed_head(response, rest, left);
        else if (response->stage == IN_BODY || response->stage == IN_CHUNK) taken += feed_body(response, rest, left);
        else taken += feed_line(response, rest, left);
    }
    return taken;
}

/* ---- judging ------------------------------------------------------------------------------------------------- */

/* The last whole number that follows the key (given with its quotes), -1 if there is none. */
static long last_number(const char *text, size_t length, const char *key) {
    const char *end = text + length, *at = text;
    long number = -1;
    while ((at = memmem(at, (size_t)(end - at), key, strlen(key)))) {
        at += strlen(key);
        const char *digit = at;
        while (digit < end && (*digit == ' ' || *digit == ':')) digit++;
        if (digit == end || *digit < '0' || *digit > '9') continue;
        for (number = 0; digit < end && *digit >= '0' && *digit <= '9'; digit++) number = number * 10 + (*digit - '0');
    }
    return number;
}

static int count(const char *text, size_t length, const char *what) {
    const char *end = text + length, *at = text;
    int found = 0;
    while ((at = memmem(at, (size_t)(end - at), what, strlen(what)))) at += strlen(what), found++;
    return found;
}

static bool ends_with_done(const char *text, size_t length) {
    static const char done[] = "data: [DONE]";
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r')) length--;
    return length >= sizeof done - 1 && memcmp(text + length - (sizeof done - 1), done, sizeof done - 1) == 0;
}

const char *response_fault(const struct response *response, const struct expectation *expected) {
    if (response->broken) return response->broken;
    if (response->stage != COMPLETE) return "the connection ended before the answer did";
    if (response->status != 200) return "the status is not 200";
    if (expected->stream) {
        if (!ends_with_done(response->body, response->body_length)) return "the stream does not end with [DONE]";
        /* Words, not events: a gateway may put two deltas into one event. */
        if (count(response->body, response->body_length, " token") != expected->chunks)
            return "content is missing or doubled";
    }
    long tokens = last_number(response->body, response->body_length, "\"total_tokens\"");
    if (tokens < 0) return "there is no usage";
    if (tokens != expected->total_tokens) return "the usage says another number of tokens";
    return NULL;
}
