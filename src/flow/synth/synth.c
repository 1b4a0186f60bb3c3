/* synth.c: writes a checkpoint of random weights. */
#include "flow/synth/synth.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <lvsa/lvsa_synth.h>

#include "base/mem.h"

/* The published sizes in bf16 are half of the published files, and so are the shards: as many of
 * them. "tiny" is for tests. */
static const lv_synth_sizes known[] = {
    {"wan2.1-1.3b", 12, 128, 30, 8960, 4096, 64, 64, 24, 10240, 256000, 256384, 96, 2, 2500000000},
    {"wan2.1-14b", 40, 128, 40, 13824, 4096, 64, 64, 24, 10240, 256000, 256384, 96, 2, 2500000000},
    {"tiny", 2, 64, 2, 256, 64, 4, 16, 2, 128, 4000, 4352, 8, 1, 500000},
};

const char *lvsa_synth_name(int index)
{
    const int count = (int)(sizeof known / sizeof known[0]);
    return index >= 0 && index < count ? known[index].name : NULL;
}

const lv_synth_sizes *lv_synth_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static const struct {
    unsigned bit;
    const char *part, *stem;
    lvsa_dtype dtype;
    void (*list)(lv_synth_list *, const lv_synth_sizes *);
} kinds[LV_SYNTH_PARTS] = {
    {LVSA_SYNTH_TRANSFORMER, "transformer", "diffusion_pytorch_model", LVSA_BF16,
     lv_synth_list_transformer},
    {LVSA_SYNTH_TEXT_ENCODER, "text_encoder", "model", LVSA_BF16, lv_synth_list_text_encoder},
    {LVSA_SYNTH_VAE, "vae", "diffusion_pytorch_model", LVSA_F32, lv_synth_list_vae},
};

static lvsa_status lay_out_parts(lv_synth_job *job, unsigned parts)
{
    for (int i = 0; i < LV_SYNTH_PARTS; i++) {
        if (!(parts & kinds[i].bit)) continue;
        lv_synth_part *p = &job->part[job->parts++];
        *p = (lv_synth_part){.part = kinds[i].part, .stem = kinds[i].stem, .dtype = kinds[i].dtype};
        kinds[i].list(&p->list, job->sizes);
        /* diffusers keeps a VAE in one file. */
        LV_TRY(lv_synth_lay_out(p, p->dtype == LVSA_F32 ? INT64_MAX : job->sizes->shard));
    }
    return LVSA_OK;
}

/* ---- places ---------------------------------------------------------------------------------- */

static lvsa_status make_folder(lv_synth_job *job, const char *name)
{
    char path[LV_SYNTH_PATH];
    LV_TRY(lv_synth_path(path, job, name));
    if (mkdir(path, 0777) == 0) return lv_synth_note_made(job, path, false);
    if (errno == EEXIST) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO, "%s: can't be made: %s", path, strerror(errno));
}

static lvsa_status make_directory(lv_synth_job *job, int replace)
{
    if (mkdir(job->directory, 0777) == 0) return lv_synth_note_made(job, job->directory, false);
    if (errno == EEXIST && replace) return LVSA_OK;
    if (errno == EEXIST)
        return lv_fail(LVSA_ERR_IO,
                       "%s: exists; give another directory, or allow its files to be "
                       "replaced (--force)",
                       job->directory);
    return lv_fail(LVSA_ERR_IO, "%s: can't be made: %s", job->directory, strerror(errno));
}

static lvsa_status check_room(const lv_synth_job *job)
{
    const int64_t texts = 64 * job->sizes->pieces + (1 << 20); /* tokenizer, headers, configs */
    struct statvfs v;
    int64_t wanted = texts;
    for (int i = 0; i < job->parts; i++) wanted += job->part[i].total;
    if (statvfs(job->directory, &v) != 0)
        return lv_fail(LVSA_ERR_IO, "%s: %s", job->directory, strerror(errno));
    const double room = (double)v.f_bavail * (double)v.f_frsize;
    if (room >= (double)wanted) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO,
                   "%s: %.3g GB are to be written and %.3g GB are free; make room, or leave parts "
                   "out",
                   job->directory, 1e-9 * (double)wanted, 1e-9 * room);
}

static lvsa_status make_folders(lv_synth_job *job)
{
    for (int i = 0; i < LV_SYNTH_PARTS; i++) LV_TRY(make_folder(job, kinds[i].part));
    LV_TRY(make_folder(job, "scheduler"));
    return make_folder(job, "tokenizer");
}

/* ---- all of it ------------------------------------------------------------------------------- */

static lvsa_status write_all(lv_synth_job *job, int replace)
{
    LV_TRY(make_directory(job, replace));
    LV_TRY(check_room(job));
    LV_TRY(make_folders(job));
    LV_TRY(lv_synth_write_configs(job));
    LV_TRY(lv_synth_write_tokenizer(job));
    LV_TRY(lv_synth_write_weights(job));
    return lv_synth_place_made(job);
}

lvsa_status lv_synth_write(lv_synth_job *job, int replace)
{
    const lvsa_status s = write_all(job, replace);
    lv_synth_forget_made(job, s != LVSA_OK);
    return s;
}

static lvsa_status check_options(const lvsa_synth_options *o)
{
    if (o->size != sizeof *o || !o->name || !o->directory || o->threads < 0 || o->layers < 0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_synth_options: start with LVSA_SYNTH_OPTIONS_INIT, give a name, a "
                       "directory, and 0 or more threads and layers");
    if (o->parts == 0 || o->parts & ~(unsigned)LVSA_SYNTH_ALL)
        return lv_fail(LVSA_ERR_ARGUMENT, "parts 0x%x: a sum of lvsa_synth_part is wanted",
                       o->parts);
    if (!lv_synth_find(o->name))
        return lv_fail(LVSA_ERR_ARGUMENT, "%s: no such checkpoint; %s, %s or %s is wanted", o->name,
                       known[0].name, known[1].name, known[2].name);
    return LVSA_OK;
}

lvsa_status lvsa_synth_write(int64_t *bytes, const lvsa_synth_options *o)
{
    *bytes = 0;
    LV_TRY(check_options(o));
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    lv_synth_sizes sizes = *lv_synth_find(o->name);
    if (o->layers > 0) sizes.layers = o->layers;
    lv_synth_job job = {.directory = o->directory,
                        .sizes = &sizes,
                        .seed = o->seed,
                        .threads = o->threads       ? o->threads
                                   : processors > 0 ? (int)processors
                                                    : 1,
                        .on_progress = o->on_progress,
                        .user = o->user};
    lvsa_status s = lay_out_parts(&job, o->parts);
    if (s == LVSA_OK) s = lv_synth_write(&job, o->replace);
    for (int i = 0; i < job.parts; i++) lv_synth_part_free(&job.part[i]);
    *bytes = job.written;
    return s;
}
