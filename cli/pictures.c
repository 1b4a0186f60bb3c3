/* pictures.c: previews and contact sheets of one run. */
#include "pictures.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* clang-format off */
const option picture_options[] = {
    {"preview-every", 0, OPTION_INT, offsetof(picture_settings, every), "N", .lo = 1, .hi = 1000,
     .help = "draw what the video is going to be after every N steps, into NAME.preview.png beside "
             "it"},
    {"sheet", 0, OPTION_TEXT, offsetof(picture_settings, sheet), "FILE", .aliases = "contact-sheet",
     .help = "write a contact sheet of the video, a .png"},
    {"show", 0, OPTION_FLAG, offsetof(picture_settings, show), NULL,
     .help = "draw the contact sheet in the terminal, where that is Kitty, Ghostty, WezTerm or "
             "iTerm2"},
    {.name = NULL}};
/* clang-format on */

exit_code pictures_check(const picture_settings *s)
{
    const char *path = s->sheet.value, *dot = path ? strrchr(path, '.') : NULL;
    if (!path || (dot && strcasecmp(dot, ".png") == 0)) return CODE_DONE;
    return complain(CODE_USAGE, "--sheet %s: a path that ends in .png is wanted", path);
}

/* ---- previews -------------------------------------------------------------------------------- */

/* "out/fox.mp4" -> "out/fox.preview.png"; of a pattern, what is before its number: "out/f_%04d.png"
 * -> "out/f.preview.png". free() it. */
static char *name_preview(const char *video)
{
    static const char ending[] = ".preview.png";
    const char *slash = strrchr(video, '/'), *name = slash ? slash + 1 : video;
    const char *percent = strchr(name, '%'), *dot = strrchr(name, '.');
    size_t length = strlen(name);
    if (percent) length = (size_t)(percent - name);
    else if (dot && dot > name) length = (size_t)(dot - name);
    while (percent && length > 0 && strchr("-_.", name[length - 1])) length--;
    char *path = malloc(strlen(video) + sizeof ending);
    if (!path) return NULL;
    memcpy(path, video, (size_t)(name - video) + length);
    strcpy(path + (name - video) + length, length > 0 ? ending : ending + 1);
    return path;
}

static exit_code open_preview(pictures *p, const pictures_plan *plan)
{
    lvsa_sheet_format format = LVSA_SHEET_FORMAT_INIT;
    if (p->every == 0 || plan->steps == 0) return CODE_DONE;
    if (p->every > plan->steps)
        return warn(plan->strict, "--preview-every %d: the run has %d steps; no previews", p->every,
                    plan->steps);
    char *path = name_preview(plan->video);
    if (!path) return complain(CODE_MEMORY, "the preview's name doesn't fit in memory");
    format.frames = plan->forecast->latent_frames;
    format.width = plan->forecast->width, format.height = plan->forecast->height;
    format.replace = 1;
    lvsa_status status = lvsa_sheet_open(&p->preview, path, &format);
    if (status == LVSA_OK) note(TALK_NORMAL, "previews in %s", path);
    free(path);
    return complain_status(status);
}

lvsa_status pictures_add_preview(pictures *p, const lvsa_preview *preview)
{
    const size_t size = 3 * (size_t)preview->width * (size_t)preview->height;
    lvsa_status status = LVSA_OK;
    if (!p->preview || preview->step % p->every != 0) return LVSA_OK;
    for (int i = 0; i < preview->frames && status == LVSA_OK; i++) {
        const lvsa_frame frame = {.index = i,
                                  .width = preview->width,
                                  .height = preview->height,
                                  .rgb = preview->rgb + (size_t)i * size};
        status = lvsa_sheet_add(p->preview, &frame);
    }
    if (status == LVSA_OK) status = lvsa_sheet_write(p->preview);
    if (status != LVSA_OK) lvsa_sheet_close(&p->preview);
    return status;
}

/* ---- the sheet ------------------------------------------------------------------------------- */

/* Whether a path is one of a video's pictures, "f_%04d.png". */
static bool is_frame(const char *path, const char *video)
{
    const char *percent = strchr(video, '%'), *after = percent ? strchr(percent, 'd') : NULL;
    if (!after) return false;
    const size_t before = (size_t)(percent - video), end = strlen(after + 1), all = strlen(path);
    if (all <= before + end || strncmp(path, video, before) != 0 ||
        strcmp(path + all - end, after + 1) != 0)
        return false;
    return before + strspn(path + before, "0123456789") == all - end;
}

/* Written, it would take the place of another picture of the same run. */
static exit_code check_sheet(const char *path, const pictures_plan *plan)
{
    char *preview = plan->settings->every.value ? name_preview(plan->video) : NULL;
    const bool taken = is_frame(path, plan->video) || (preview && strcmp(preview, path) == 0);
    free(preview);
    return taken ? complain(CODE_USAGE,
                            "--sheet %s: another picture of the run is to be there; give another "
                            "name",
                            path)
                 : CODE_DONE;
}

static exit_code open_sheet(pictures *p, const pictures_plan *plan)
{
    const picture_settings *s = plan->settings;
    lvsa_sheet_format format = LVSA_SHEET_FORMAT_INIT;
    const char *why;
    if (s->show.value) {
        p->terminal = terminal_find(&why);
        if (p->terminal == TERMINAL_NONE)
            TRY(warn(plan->strict, "--show: %s; nothing will be drawn%s", why,
                     s->sheet.value ? "" : ", --sheet FILE writes it"));
    }
    if (!s->sheet.value && p->terminal == TERMINAL_NONE) return CODE_DONE;
    if (s->sheet.value) TRY(check_sheet(s->sheet.value, plan));
    p->path = s->sheet.value;
    format.frames = plan->forecast->frames;
    format.width = plan->forecast->width, format.height = plan->forecast->height;
    format.replace = plan->replace;
    return complain_status(lvsa_sheet_open(&p->sheet, p->path, &format));
}

lvsa_status pictures_add_frame(pictures *p, const lvsa_frame *frame)
{
    return p->sheet ? lvsa_sheet_add(p->sheet, frame) : LVSA_OK;
}

exit_code pictures_finish(pictures *p)
{
    lvsa_png png;
    if (!p->sheet) return CODE_DONE;
    if (p->path) {
        TRY(complain_status(lvsa_sheet_write(p->sheet)));
        note(TALK_NORMAL, "wrote %s", p->path);
    }
    if (p->terminal == TERMINAL_NONE) return CODE_DONE;
    TRY(complain_status(lvsa_sheet_get_png(&png, p->sheet)));
    terminal_draw(p->terminal, &png);
    return CODE_DONE;
}

/* ---- both ------------------------------------------------------------------------------------ */

exit_code pictures_open(pictures *p, const pictures_plan *plan)
{
    *p = (pictures){.every = plan->settings->every.value};
    TRY(open_preview(p, plan));
    return open_sheet(p, plan);
}

void pictures_close(pictures *p)
{
    lvsa_sheet_close(&p->sheet);
    lvsa_sheet_close(&p->preview);
}
