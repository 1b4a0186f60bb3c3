/* state.c: opens files of states and shows what they hold. */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keep.h"
#include "record.h"

exit_code state_open(state_file *f, const char *path)
{
    *f = (state_file){.info = {.size = sizeof f->info}};
    f->path = keep_find_state(path);
    if (!f->path) return CODE_MEMORY;
    if (strcmp(f->path, path) != 0 && access(f->path, F_OK) != 0)
        return complain(CODE_FAILED,
                        "%s holds no run that was left: it has no %s; a folder of --checkpoint, or "
                        "a .safetensors, is wanted",
                        path, strrchr(f->path, '/') + 1);
    TRY(complain_status(lvsa_state_open(&f->state, f->path)));
    TRY(complain_status(lvsa_state_get_info(&f->info, f->state)));
    return f->info.note ? record_parse(&f->record, f->info.note, f->path) : CODE_DONE;
}

void state_close(state_file *f)
{
    json_decref(f->record);
    lvsa_state_close(&f->state);
    free(f->path);
    *f = (state_file){.path = NULL};
}

const char *state_find_file(const state_file *f, const char *name)
{
    return json_string_value(json_object_get(json_object_get(f->record, "files"), name));
}

int state_is(const char *path)
{
    static const char end[] = ".safetensors";
    struct stat status;
    const size_t length = strlen(path), wanted = sizeof end - 1;
    if (stat(path, &status) != 0) return 0;
    if (!S_ISDIR(status.st_mode))
        return length > wanted && strcmp(path + length - wanted, end) == 0;
    char *file = keep_find_state(path), *video = keep_find_video(path);
    const int is = video || (file && stat(file, &status) == 0 && S_ISREG(status.st_mode));
    free(video);
    free(file);
    return is;
}

static exit_code print_json(const state_file *f)
{
    const int64_t *s = f->info.shape;
    json_t *state =
        json_pack("{s:i,s:i,s:[I,I,I,I]}", "step", f->info.steps_done, "steps", f->info.steps,
                  "shape", (json_int_t)s[0], (json_int_t)s[1], (json_int_t)s[2], (json_int_t)s[3]);
    json_t *all = f->record ? json_copy(f->record) : json_object();
    if (!state || json_object_set_new(all, "state", state) != 0) {
        json_decref(all);
        return complain(CODE_MEMORY, "a JSON object doesn't fit in memory");
    }
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(all);
    return CODE_DONE;
}

exit_code state_print(const state_file *f, int as_json)
{
    const int64_t *s = f->info.shape;
    if (as_json) return print_json(f);
    if (f->info.steps_done < f->info.steps)
        printf("%-24s after step %d of %d; lvsa resume goes on\n", "run", f->info.steps_done,
               f->info.steps);
    else if (f->info.steps > 0)
        printf("%-24s done but for decoding, after %d steps\n", "run", f->info.steps);
    else printf("%-24s another program's\n", "run");
    printf("%-24s %lld channels of %lld frame%s of %lldx%lld\n", "latents", (long long)s[0],
           (long long)s[1], s[1] == 1 ? "" : "s", (long long)s[3], (long long)s[2]);
    if (f->record) record_print(f->record);
    return CODE_DONE;
}
