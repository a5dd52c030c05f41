/* Reads HTTP/1.1 answers piece by piece and judges whether they are what was asked for. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

enum { HEAD_MAX = 16 * 1024, BODY_MAX = 4 * 1024 * 1024 };

enum stage { IN_HEAD, IN_BODY, IN_CHUNK_SIZE, IN_CHUNK, AFTER_CHUNK, IN_TRAILER, COMPLETE };

struct response {
    enum stage stage;
    const char *broken; /* why the bytes are not an HTTP answer, or NULL */
    int status;
    bool closes; /* the server will close the connection after this answer */
    char head[HEAD_MAX + 1];
    size_t head_length;
    size_t remaining; /* of the body, or of the chunk */
    char line[64];
    size_t line_length;
    char *body;
    size_t body_length, body_capacity;
};

/* What a good answer holds. A stream ends with [DONE] after `chunks` deltas with one word each. */
struct expectation {
    bool stream;
    int chunks;
    long total_tokens; /* the number that the usage must say */
};

/* Makes it ready for the next answer; the memory of the body is kept. */
void response_reset(struct response *response);

/* Takes bytes until the answer is complete or broken; returns how many it took. */
size_t response_feed(struct response *response, const char *bytes, size_t length);

/* NULL for a good answer, otherwise what is wrong with it. */
const char *response_fault(const struct response *response, const struct expectation *expected);

#endif
