/* What the upstream says: a chat answer of 1 KB, a list of one model, and streams of any number of chunks. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

struct answer {
    char bytes[4096];
    size_t length;
};

/* A rendered stream: the bytes of the whole HTTP answer, and where each write of a paced stream ends. */
struct stream {
    int chunks;
    bool usage;
    char *bytes;
    size_t length;
    size_t *write_end;
    int writes;
};

extern struct answer json_answer, models_answer;

/* Renders the two fixed answers; call it once, first. */
void render_fixed_answers(void);

/* The stream of that shape, rendered at its first use; NULL if the shape is out of bounds or one too many. */
const struct stream *find_stream(int chunks, bool usage);

#endif
