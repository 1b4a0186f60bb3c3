/* plans.c: algorithms of products, and the file that keeps them.
 *
 * One line a product: rows, columns, inner, type, the result's type, alignment, bias, gelu, sum,
 * then the algorithm's eight words in hexadecimal. Lines are only ever added, by any process; of
 * two for one product the first holds, and one of another layout is none. The file's name says the
 * card and the version of cuBLASLt. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "engine/runtime/cuda/cuda.h"

/* Products of less work (multiplications and sums) take cuBLASLt's first proposal: timing them
 * would take longer than it could ever save. */
static const double LEAST_TIMED = 2e9;

/* ---- the file -------------------------------------------------------------------------------- */

/* The folder: LVSA_CACHE_DIR, or lvsa in the user's cache; false where there is none. */
static bool find_folder(char *folder, size_t size)
{
    const char *own = getenv("LVSA_CACHE_DIR"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int length = 0;
    if (own && *own) length = snprintf(folder, size, "%s", own);
    else if (cache && *cache) length = snprintf(folder, size, "%s/lvsa", cache);
    else if (home && *home) length = snprintf(folder, size, "%s/.cache/lvsa", home);
    return length > 0 && (size_t)length < size;
}

static bool make_folder(char *folder)
{
    for (char *c = folder + 1; *c; c++)
        if (*c == '/') {
            *c = '\0';
            bool made = mkdir(folder, 0777) == 0 || errno == EEXIST;
            *c = '/';
            if (!made) return false;
        }
    return mkdir(folder, 0777) == 0 || errno == EEXIST;
}

/* device->plans_path, where the file can be written. */
static void find_path(lv_cuda_device *d)
{
    char folder[1024], name[256], path[1400];
    if (!find_folder(folder, sizeof folder) || !make_folder(folder)) return;
    if (d->cuda->get_identity(d->gpu, name, sizeof name)) return;
    snprintf(path, sizeof path, "%s/%s.txt", folder, name);
    FILE *file = fopen(path, "a");
    if (!file) return;
    fclose(file);
    d->plans_path = lv_strndup(path, strlen(path));
}

static lvsa_status keep(lv_cuda_device *d, const lv_cuda_plan *plan)
{
    if (d->plans == d->plan_capacity) {
        size_t capacity = d->plan_capacity ? 2 * d->plan_capacity : 64;
        lv_cuda_plan *plans = lv_grow_array(d->plan, d->plan_capacity, capacity, sizeof *plans);
        if (!plans) return lv_fail(LVSA_ERR_MEMORY, "%zu plans of products: no memory", capacity);
        d->plan = plans, d->plan_capacity = capacity;
    }
    d->plan[d->plans++] = *plan;
    return LVSA_OK;
}

static const lv_cuda_plan *find(const lv_cuda_device *d, const lv_cuda_product *p)
{
    for (size_t i = 0; i < d->plans; i++)
        if (memcmp(&d->plan[i].product, p, sizeof *p) == 0) return &d->plan[i];
    return NULL;
}

static bool read_line(lv_cuda_plan *out, const char *line)
{
    lv_cuda_product *p = &out->product;
    uint64_t *w = out->algorithm.words;
    int end = 0;
    memset(out, 0, sizeof *out);
    sscanf(line,
           "%" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd32
           " %" SCNd32 " %" SCNd32 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
           " %" SCNx64 " %" SCNx64 " %" SCNx64 "%n",
           &p->rows, &p->columns, &p->inner, &p->dtype, &p->out_dtype, &p->align, &p->bias,
           &p->gelu, &p->add, &w[0], &w[1], &w[2], &w[3], &w[4], &w[5], &w[6], &w[7], &end);
    return end > 0 && line[end] == '\n';
}

/* A line that is not whole, left by a process that was killed, is as if it were not there, and so
 * is the one written behind it. */
static lvsa_status read_plans(lv_cuda_device *d)
{
    char line[512];
    lv_cuda_plan plan;
    lvsa_status s = LVSA_OK;
    d->plans_read = true;
    find_path(d);
    FILE *file = d->plans_path ? fopen(d->plans_path, "r") : NULL;
    if (!file) return LVSA_OK;
    while (s == LVSA_OK && fgets(line, sizeof line, file))
        if (read_line(&plan, line) && !find(d, &plan.product)) s = keep(d, &plan);
    fclose(file);
    return s;
}

/* False where the line isn't kept; the next run then chooses anew. */
static bool write_plan(const lv_cuda_device *d, const lv_cuda_plan *plan)
{
    const lv_cuda_product *p = &plan->product;
    const uint64_t *w = plan->algorithm.words;
    FILE *file = fopen(d->plans_path, "a");
    if (!file) return false;
    fprintf(file,
            "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId32 " %" PRId32 " %" PRId32 " %" PRId32
            " %" PRId32 " %" PRId32 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64
            " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n",
            p->rows, p->columns, p->inner, p->dtype, p->out_dtype, p->align, p->bias, p->gelu,
            p->add, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
    return fclose(file) == 0;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Timings differ from run to run, so they only decide where the decision can be kept. */
static lvsa_status choose(lv_cuda_plan *plan, lv_cuda_device *d, const lv_cuda_product *p)
{
    const double work = 2.0 * (double)p->rows * (double)p->columns * (double)p->inner;
    const bool timed = d->plans_path && work >= LEAST_TIMED;
    plan->product = *p;
    LV_TRY(lv_cuda_check(d->cuda->use(d->gpu), "choosing the GPU"));
    const char *failure = d->cuda->find_algorithm(d->gpu, &plan->algorithm, p, timed);
    if (failure)
        return lv_fail(LVSA_ERR_DEVICE, "device cuda: a product [%lld, %lld] x [%lld, %lld]: %s",
                       (long long)p->rows, (long long)p->inner, (long long)p->inner,
                       (long long)p->columns, failure);
    if (timed && !write_plan(d, plan))
        LV_TRY(lv_cuda_check(d->cuda->find_algorithm(d->gpu, &plan->algorithm, p, false),
                             "choosing an algorithm"));
    return LVSA_OK;
}

lvsa_status lv_cuda_find_plan(const lv_cuda_algorithm **out, lv_cuda_device *d,
                              const lv_cuda_product *p)
{
    lv_cuda_plan made;
    *out = NULL;
    if (!d->plans_read) LV_TRY(read_plans(d));
    const lv_cuda_plan *plan = find(d, p);
    if (!plan) {
        LV_TRY(choose(&made, d, p));
        LV_TRY(keep(d, &made));
        plan = &d->plan[d->plans - 1];
    }
    *out = &plan->algorithm;
    return LVSA_OK;
}

void lv_cuda_free_plans(lv_cuda_device *d)
{
    lv_free(d->plan);
    lv_free(d->plans_path);
}
