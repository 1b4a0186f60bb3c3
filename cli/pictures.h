/* pictures.h: pictures of a video: a preview while it's made, a contact sheet of what it became. */
#ifndef CLI_PICTURES_H
#define CLI_PICTURES_H

#include "options.h"
#include "talk.h"
#include "terminal.h"

typedef struct picture_settings {
    int_setting every;
    text_setting sheet;
    int_setting show;
} picture_settings;

/* The first is for runs with steps. */
extern const option picture_options[];

typedef struct pictures {
    lvsa_sheet *preview, *sheet; /* NULL: not wanted */
    int every;
    const char *path; /* of the sheet, or NULL: it's only shown; borrowed */
    terminal_way terminal;
} pictures;

/* What a run's pictures are to be. */
typedef struct pictures_plan {
    const picture_settings *settings;
    const char *video; /* its path */
    const lvsa_forecast *forecast;
    int steps;   /* 0: none, so no previews                    */
    int replace; /* a sheet that is there; previews always are */
    int strict;
} pictures_plan;

/* What can be refused before a model is opened. */
exit_code pictures_check(const picture_settings *s);

/* What can be refused before the first step. pictures_close() it either way. */
exit_code pictures_open(pictures *p, const pictures_plan *plan);
void pictures_close(pictures *p);

/* To be called with every preview of the run. The first that can't be written is the last. */
lvsa_status pictures_add_preview(pictures *p, const lvsa_preview *preview);

/* To be called with every frame. */
lvsa_status pictures_add_frame(pictures *p, const lvsa_frame *frame);

/* The sheet, into its file and onto the terminal. */
exit_code pictures_finish(pictures *p);

#endif
