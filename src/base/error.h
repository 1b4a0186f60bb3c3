/* error.h: a status code and the sentence behind it. */
#ifndef LV_BASE_ERROR_H
#define LV_BASE_ERROR_H

#include <lvsa/lvsa_status.h>

#if defined(__GNUC__)
#define LV_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LV_PRINTF(text, first)
#endif

/* Keeps the sentence for this thread's lvsa_last_error() and returns `status`, so that a failure
 * is one statement: return lv_fail(LVSA_ERR_SHAPE, "head size %d: ...", d). Sentences over 1023
 * bytes are cut. */
lvsa_status lv_fail(lvsa_status status, const char *format, ...) LV_PRINTF(2, 3);

/* Puts "prefix: " before the sentence of a call that has just failed: where it happened. */
lvsa_status lv_fail_in(lvsa_status status, const char *format, ...) LV_PRINTF(2, 3);

#define LV_TRY(call)                                                                               \
    do {                                                                                           \
        lvsa_status s_ = (call);                                                                   \
        if (s_ != LVSA_OK) return s_;                                                              \
    } while (0)

#endif
