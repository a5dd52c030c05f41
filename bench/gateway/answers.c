#include "answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_MAX = 1024, STREAMS_MAX = 32, CHUNKS_MAX = 4096 };
enum { PROMPT_TOKENS = 212, JSON_TOKENS = 128 };

#define COMMON "\"id\":\"chatcmpl-5d0f8b1c2e7a4963\",\"created\":1763683200,\"model\":\"gpt-4o-mini\""
#define USAGE \
    "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d," \
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0}," \
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}"
#define EVENT \
    "data: {" COMMON ",\"object\":\"chat.completion.chunk\",\"service_tier\":\"default\"," \
    "\"system_fingerprint\":\"fp_0aa8d3e20b\",\"choices\":["

struct answer json_answer, models_answer;
static struct stream streams[STREAMS_MAX];
static int stream_count;

static void render_answer(struct answer *answer, const char *body) {
    answer->length = (size_t)snprintf(answer->bytes, sizeof answer->bytes,
                                      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                      "x-request-id: req_0123456789abcdef\r\nContent-Length: %zu\r\n\r\n%s",
                                      strlen(body), body);
}

void render_fixed_answers(void) {
    char body[2048];
    snprintf(body, sizeof body,
             "{" COMMON ",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
             "\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE
             ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0aa8d3e20b\"}",
             "A ship's log is kept in order of time and never erased. A wrong entry is struck through and followed by "
             "the right one, so that whoever reads the book later sees both what was believed and when it was put "
             "right. Books of account are kept the same way and for the same reason: a sum that changes without a "
             "trace is a sum that nobody can trust. This answer has no other purpose than to be about as long as a "
             "short answer of a chat model, which is to say that the whole body comes to about one kilobyte.",
             PROMPT_TOKENS, JSON_TOKENS, PROMPT_TOKENS + JSON_TOKENS);
    render_answer(&json_answer, body);
    render_answer(&models_answer, "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-mini\",\"object\":\"model\","
                                  "\"created\":1,\"owned_by\":\"bench\"}]}");
}

static void append(struct stream *stream, const char *bytes) {
    size_t length = strlen(bytes);
    memcpy(stream->bytes + stream->length, bytes, length);
    stream->length += length;
}

/* Adds one server-sent event as one HTTP chunk. */
static void append_event(struct stream *stream, const char *event) {
    char size[32];
    snprintf(size, sizeof size, "%zx\r\n", strlen(event));
    append(stream, size);
    append(stream, event);
    append(stream, "\r\n");
}

static void end_write(struct stream *stream) { stream->write_end[stream->writes++] = stream->length; }

/* The first write: the head of the answer and the role. */
static void append_start(struct stream *stream) {
    append(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
                   "x-request-id: req_0123456789abcdef\r\nTransfer-Encoding: chunked\r\n\r\n");
    append_event(stream, EVENT "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
                               "\"finish_reason\":null}],\"usage\":null}\n\n");
    end_write(stream);
}

static void append_token(struct stream *stream, int number) {
    char event[EVENT_MAX];
    snprintf(event, sizeof event,
             EVENT "{\"index\":0,\"delta\":{\"content\":\" token%d\"},\"logprobs\":null,\"finish_reason\":null}],"
                   "\"usage\":null}\n\n",
             number);
    append_event(stream, event);
    end_write(stream);
}

/* The last write: the finish reason, the usage if asked for, [DONE] and the end of the chunked body. */
static void append_end(struct stream *stream) {
    char event[EVENT_MAX];
    append_event(stream, EVENT "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                               "\"usage\":null}\n\n");
    if (stream->usage) {
        snprintf(event, sizeof event, EVENT "]," USAGE "}\n\n", PROMPT_TOKENS, stream->chunks,
                 PROMPT_TOKENS + stream->chunks);
        append_event(stream, event);
    }
    append_event(stream, "data: [DONE]\n\n");
    append(stream, "0\r\n\r\n");
    end_write(stream);
}

static void render_stream(struct stream *stream, int chunks, bool usage) {
    *stream = (struct stream){.chunks = chunks, .usage = usage};
    stream->bytes = malloc((size_t)(chunks + 5) * EVENT_MAX);
    stream->write_end = malloc((size_t)(chunks + 2) * sizeof *stream->write_end);
    if (!stream->bytes || !stream->write_end) {
        perror("upstream");
        exit(1);
    }
    append_start(stream);
    for (int number = 1; number <= chunks; number++) append_token(stream, number);
    append_end(stream);
}

const struct stream *find_stream(int chunks, bool usage) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i].chunks == chunks && streams[i].usage == usage) return &streams[i];
    if (chunks < 1 || chunks > CHUNKS_MAX || stream_count == STREAMS_MAX) return NULL;
    render_stream(&streams[stream_count], chunks, usage);
    return &streams[stream_count++];
}
