/* clean.h: a prompt as the model's pipeline cleans it before it is tokenized.
 *
 * diffusers' WanPipeline (pipelines/wan/pipeline_wan.py, prompt_clean) calls ftfy.fix_text() if
 * ftfy is installed, then html.unescape() twice, makes each run of white space one space and
 * strips the ends. This does all of it but ftfy, to the byte of what Python 3 does.
 *
 * ftfy is left out: it guesses what a text was before someone decoded it wrongly (an apostrophe
 * that has become three letters), by heuristics that change from release to release, and upstream
 * itself goes without where it isn't installed. With ftfy a prompt comes out otherwise where it
 * has such damage, curly quotes (ftfy makes them straight), ligatures, full-width letters,
 * terminal escapes or control characters, or isn't in NFC. None of this is followed by half. */
#ifndef LV_FLOW_TEXT_CLEAN_H
#define LV_FLOW_TEXT_CLEAN_H

#include "flow/text/text.h"

/* Appends the cleaned text to *out. Bytes that aren't UTF-8 stay as they are. Fails with
 * LVSA_ERR_MEMORY. */
lvsa_status lv_prompt_clean(lv_text *out, const char *text, size_t length);

/* Appends the text with its character references replaced, as Python's html.unescape(); a number
 * of thousands of digits, at which Python raises, is U+FFFD like any that is too great. Fails
 * with LVSA_ERR_MEMORY. */
lvsa_status lv_html_unescape(lv_text *out, const char *text, size_t length);

#endif
