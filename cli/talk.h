/* talk.h: what the program says besides its results, all of it on stderr, and how it ends. */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include <lvsa/lvsa.h>

/* The numbers scripts rely on. */
typedef enum exit_code {
    CODE_DONE = 0,
    CODE_FAILED = 1,
    CODE_USAGE = 2,
    CODE_MEMORY = 3,
    CODE_MODEL = 4,
    CODE_INTERRUPTED = 130
} exit_code;

/* What is said at TALK_QUIET is always said. */
typedef enum talk_level { TALK_QUIET, TALK_NORMAL, TALK_VERBOSE } talk_level;

/* Until told otherwise: "lvsa", TALK_NORMAL. The name, e.g. "lvsa plan", must stay. */
void talk_begin(const char *name, talk_level level);
talk_level talk_get_level(void);

/* A line of its own, or one after "NAME: "; only at `level` and above. */
void say(talk_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note(talk_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "NAME: sentence", whatever the level. Returns the code, so that a failure is one statement. */
exit_code complain(exit_code code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A note that lets the work go on or, where `strict`, a complaint with CODE_USAGE. */
exit_code warn(int strict, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Of a file that may not be replaced; the commands that say this have --force. */
exit_code complain_there(const char *path);

/* The same with the library's sentence and the code that belongs to its status; CODE_DONE and no
 * sentence for LVSA_OK. */
exit_code complain_status(lvsa_status status);

/* The same where a checkpoint was read: one with files that are missing is a bad model. */
exit_code complain_model(lvsa_status status);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        exit_code code_ = (call);                                                                  \
        if (code_ != CODE_DONE) return code_;                                                      \
    } while (0)

#endif
