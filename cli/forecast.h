/* forecast.h: what a job needs, and what the machine or its GPU has. */
#ifndef CLI_FORECAST_H
#define CLI_FORECAST_H

#include "talk.h"

/* "12.3 GiB" */
enum { FORECAST_BYTES_TEXT = 32 };
const char *forecast_bytes(char text[FORECAST_BYTES_TEXT], int64_t bytes);

/* On stdout, as part of a table. */
void forecast_print(const lvsa_forecast *f, lvsa_device device, int fps);

/* In a line of talk. */
void forecast_note(const lvsa_forecast *f, lvsa_device device);

/* CODE_MEMORY for a job that doesn't fit, with the numbers and what would. */
exit_code forecast_check(const lvsa_forecast *f, lvsa_pipeline *pipeline,
                         const lvsa_pipeline_options *options, const lvsa_job *job);

#endif
