/* lvsa_status.h: how every lvsa function says whether it worked.
 *
 * What holds for all of them: what comes out is the first argument; where the call fails a handle
 * is NULL, and a number or struct means nothing. close, free and abort take the address of a
 * handle, or NULL, and leave NULL. What get and find give is borrowed. Texts are UTF-8. Structs
 * with a size are set by their _INIT, or all 0 but for the size. A handle belongs to one thread at
 * a time; different ones may be used at once. Nothing is printed, and no call but
 * lvsa_ranks_abort() ends the process. */
#ifndef LVSA_STATUS_H
#define LVSA_STATUS_H

#include <lvsa/lvsa_version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A code never changes its number. Anything but LVSA_OK comes with a sentence:
 * lvsa_last_error(). */
typedef enum lvsa_status {
    LVSA_OK = 0,
    LVSA_ERR_ARGUMENT = 1,    /* an option has a value that makes no sense                     */
    LVSA_ERR_SHAPE = 2,       /* sizes or strides that do not fit together                     */
    LVSA_ERR_MEMORY = 3,      /* the machine (or the workspace given) has too little memory    */
    LVSA_ERR_IO = 4,          /* a file can't be opened, read or written                       */
    LVSA_ERR_FORMAT = 5,      /* a file was read but isn't what it should be                   */
    LVSA_ERR_UNSUPPORTED = 6, /* known, but not in this build or not on this machine           */
    LVSA_ERR_CANCELLED = 7,   /* a callback asked to stop                                      */
    LVSA_ERR_DEVICE = 8,      /* the device or its driver failed                               */
    LVSA_ERR_NUMBER = 9       /* a model gave a NaN or an infinity                             */
} lvsa_status;

/* The sentence that belongs to this thread's last failed call: the value seen, the value wanted,
 * the way out. "" before the first failure. Borrowed; changes with the thread's next failure. */
LVSA_API const char *lvsa_last_error(void);

/* The code's name, e.g. "LVSA_ERR_SHAPE"; "LVSA_ERR_UNKNOWN" for a number that is no code.
 * Static. */
LVSA_API const char *lvsa_status_name(lvsa_status status);

#ifdef __cplusplus
}
#endif
#endif
