/* bench.c: `lvsa bench`: what the library's hot calls take on this machine. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "pattern.h"

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of the runs of one call. */
typedef struct timing {
    int runs;
    double best, median, worst;
} timing;

/* Sorts seconds [runs]. */
static timing summarise(double *seconds, int runs)
{
    qsort(seconds, (size_t)runs, sizeof *seconds, compare_doubles);
    return (timing){runs, seconds[0], 0.5 * (seconds[(runs - 1) / 2] + seconds[runs / 2]),
                    seconds[runs - 1]};
}

/* ---- bench attention: options ---------------------------------------------------------------- */

typedef struct attention_settings {
    int_setting shape, heads, kv_heads, head_dim, dtype, attention_dtype;
    int_setting text, device, backend, threads;
} attention_settings;

typedef struct measure_settings {
    int_setting repeat;
    number_setting seconds;
    int_setting compare, json;
} measure_settings;

typedef struct bench_settings {
    common_settings common; /* first: see run_command() */
    pattern_settings pattern;
    attention_settings attention;
    measure_settings measure;
} bench_settings;

static const struct {
    const char *name;
    lvsa_dtype dtype;
    size_t bytes;
} dtypes[] = {{"f32", LVSA_F32, 4}, {"bf16", LVSA_BF16, 2}, {"f16", LVSA_F16, 2}};

static const char *dtype_name(int index) { return index < 3 ? dtypes[index].name : NULL; }

static const char *device_name(int index)
{
    return index == LVSA_DEVICE_CPU ? "cpu" : index == LVSA_DEVICE_CUDA ? "cuda" : NULL;
}

/* The self-attention of one layer of known models; a number is that of latent frames. At rotation 1
 * a query of Wan attends to 22 frames at every length. */
static const struct {
    const char *name;
    int frames, patches, reference, rotation;
    int heads, kv_heads, head_dim, text;
} shapes[] = {
    {"dense-21", 21, 1560, 21, 0, 12, 12, 128, 0},   {"wan-41", 41, 1560, 21, 1, 12, 12, 128, 0},
    {"wan-81", 81, 1560, 21, 1, 12, 12, 128, 0},     {"wan-121", 121, 1560, 21, 1, 12, 12, 128, 0},
    {"wan14b-81", 81, 1560, 21, 1, 40, 40, 128, 0},  {"hunyuan", 49, 1590, 33, 1, 16, 16, 128, 300},
    {"cogvideox", 25, 1350, 13, 1, 48, 48, 64, 226}, {"cosmos", 95, 920, 48, 1, 32, 8, 128, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const char *shape_name(int index)
{
    return index == 0 ? "none" : index <= SHAPES ? shapes[index - 1].name : NULL;
}

static const char *compare_name(int index)
{
    static const char *const names[] = {"nothing", "dense", "all"};
    return index < 3 ? names[index] : NULL;
}
enum { COMPARE_DENSE = 1, COMPARE_ALL = 2 };

static const option bench_pattern_options[] = {PATTERN_OPTIONS("41", "256", "21"), {.name = NULL}};

/* clang-format off */
static const option attention_options[] = {
    {"shape", 0, OPTION_CHOICE, offsetof(attention_settings, shape), "NAME", .choice = shape_name,
     .fallback = "none", .help = "a model's sizes, in bf16; what is given besides goes before it"},
    {"heads", 0, OPTION_INT, offsetof(attention_settings, heads), "H", .lo = 1, .hi = 1024,
     .fallback = "4", .help = "query heads"},
    {"kv-heads", 0, OPTION_INT, offsetof(attention_settings, kv_heads), "H", .lo = 1, .hi = 1024,
     .help = "key and value heads (without it: all heads)"},
    {"head-dim", 0, OPTION_INT, offsetof(attention_settings, head_dim), "D", .lo = 1,
     .hi = LVSA_MAX_HEAD_DIM, .fallback = "64", .help = "head size"},
    {"dtype", 0, OPTION_CHOICE, offsetof(attention_settings, dtype), "TYPE", .choice = dtype_name,
     .fallback = "f32", .help = "type of the tensors"},
    {"attention-dtype", 0, OPTION_CHOICE, offsetof(attention_settings, attention_dtype), "TYPE",
     .choice = attention_dtype_name, .fallback = "auto",
     .help = "what the products multiply: as lvsa generate has it"},
    {"text", 0, OPTION_INT, offsetof(attention_settings, text), "L", .lo = 0, .hi = 1 << 20,
     .fallback = "0", .help = "rows of text that every query attends to as well"},
    {"device", 0, OPTION_CHOICE, offsetof(attention_settings, device), "NAME",
     .choice = device_name, .fallback = "cpu", .help = "where it is computed"},
    {"backend", 0, OPTION_CHOICE, offsetof(attention_settings, backend), "NAME",
     .choice = backend_name, .fallback = "auto", .environment = "LVSA_BACKEND",
     .help = "what computes it"},
    {"threads", 't', OPTION_INT, offsetof(attention_settings, threads), "N", .lo = 0, .hi = 4096,
     .fallback = "0", .help = "CPU threads, 0 for as many as OpenMP takes"},
    {.name = NULL}};

#define REPEAT_OPTION(runs_default)                                                               \
    {"repeat", 0, OPTION_INT, offsetof(measure_settings, repeat), "N", .lo = 1, .hi = 1000000,    \
     .fallback = runs_default, .help = "runs that are measured"}
#define JSON_OPTION                                                                               \
    {"json", 0, OPTION_FLAG, offsetof(measure_settings, json), NULL,                              \
     .help = "print one JSON object in place of the table"}

static const option attention_measure_options[] = {
    REPEAT_OPTION("20"),
    {"seconds", 0, OPTION_NUMBER, offsetof(measure_settings, seconds), "S", .lo = 0, .hi = 86400,
     .fallback = "10", .help = "stop after S seconds, though after one run at least"},
    {"compare", 0, OPTION_CHOICE, offsetof(measure_settings, compare), "WITH",
     .choice = compare_name, .fallback = "nothing",
     .help = "measure this as well: dense attention, or besides the other back ends"},
    JSON_OPTION,
    {.name = NULL}};
/* clang-format on */

static const option_group bench_attention_groups[] = {
    {"The video and the pattern, in latent units", bench_pattern_options,
     offsetof(bench_settings, pattern)},
    {"The attention", attention_options, offsetof(bench_settings, attention)},
    {"The measurement", attention_measure_options, offsetof(bench_settings, measure)},
    {"Talk", common_options, offsetof(bench_settings, common)},
    {NULL, NULL, 0}};

/* ---- bench attention: tensors ---------------------------------------------------------------- */

/* Nearly normal, mean 0 and variance 1: a sum of four uniform 16-bit numbers, which is as good for
 * a benchmark and far quicker. The bits are xorshift64*'s (Vigna 2016), the same everywhere. */
static float next_normal(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    const uint64_t bits = *state * 0x2545f4914f6cdd1dull;
    const double sum =
        (double)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return (float)((sum - 4 * 32767.5) / (65536.0 / sqrt(3.0)));
}

static uint16_t bf16_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* For magnitudes under 65504; those under 2^-14 become 0, which normal numbers hardly ever are. */
static uint16_t f16_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = (bits >> 16) & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest < 0x38800000u) return (uint16_t)sign;
    return (uint16_t)(sign | ((rest - 0x38000000u + 0x0fffu + ((rest >> 13) & 1u)) >> 13));
}

/* Numbers that repeat after four million: making more would take longer than the benchmark. */
static void fill_normal(void *tensor, size_t count, lvsa_dtype dtype, size_t bytes, uint64_t seed)
{
    const size_t period = (size_t)1 << 22;
    for (size_t i = 0; i < count && i < period; i++) {
        float value = next_normal(&seed);
        if (dtype == LVSA_F32) ((float *)tensor)[i] = value;
        else ((uint16_t *)tensor)[i] = dtype == LVSA_BF16 ? bf16_bits(value) : f16_bits(value);
    }
    for (size_t i = period; i < count; i += period)
        memcpy((char *)tensor + i * bytes, tensor,
               (count - i < period ? count - i : period) * bytes);
}

/* The tensors of a call, contiguous [1, rows, heads, D]; k and v of the video, then of the text. */
enum { Q, OUT, K, V, TEXT_K, TEXT_V, TENSORS };

typedef struct tensors {
    lvsa_device device;
    void *data[TENSORS];
} tensors;

static void free_tensors(tensors *t)
{
    for (int i = 0; i < TENSORS; i++) lvsa_device_free(&t->data[i], t->device);
}

/* A tensor of normal numbers, or for seed 0 of no particular ones. */
static lvsa_status new_tensor(void **out, lvsa_device device, double elements, int dtype,
                              uint64_t seed)
{
    const size_t bytes = dtypes[dtype].bytes, count = (size_t)elements;
    *out = NULL;
    if (elements * (double)bytes >= (double)(SIZE_MAX / 2)) return LVSA_ERR_MEMORY;
    lvsa_status status = lvsa_device_alloc(out, device, count * bytes);
    if (status != LVSA_OK || seed == 0) return status;
    void *host = device == LVSA_DEVICE_CPU ? *out : malloc(count * bytes + 1);
    if (!host) return LVSA_ERR_MEMORY;
    fill_normal(host, count, dtypes[dtype].dtype, bytes, seed);
    if (host == *out) return LVSA_OK;
    status = lvsa_device_copy(*out, host, count * bytes, device);
    free(host);
    return status;
}

static int kv_heads_of(const attention_settings *a)
{
    return a->kv_heads.from ? a->kv_heads.value : a->heads.value;
}

static exit_code make_tensors(tensors *t, const bench_settings *s)
{
    const attention_settings *a = &s->attention;
    const double rows = (double)s->pattern.latent_frames.value * s->pattern.patches.value;
    const double q = rows * a->heads.value * a->head_dim.value,
                 row = (double)kv_heads_of(a) * a->head_dim.value, text = a->text.value * row;
    const double elements[TENSORS] = {q, q, rows * row, rows * row, text, text};
    const uint64_t seeds[TENSORS] = {1, 0, 2, 3, 4, 5};
    double all = 0.0;
    lvsa_status status = LVSA_OK;
    for (int i = 0; i < TENSORS && status == LVSA_OK; i++)
        status = new_tensor(&t->data[i], t->device, elements[i], a->dtype.value, seeds[i]);
    if (status != LVSA_ERR_MEMORY) return complain_status(status);
    for (int i = 0; i < TENSORS; i++) all += elements[i];
    return complain(CODE_MEMORY,
                    "tensors of %.3g GB don't fit in memory; use fewer frames, patches or heads",
                    1e-9 * (double)dtypes[a->dtype.value].bytes * all);
}

static lvsa_attention make_call(const tensors *t, const bench_settings *s)
{
    const attention_settings *a = &s->attention;
    const int d = a->head_dim.value, kv_heads = kv_heads_of(a), text = a->text.value;
    const int64_t rows = (int64_t)s->pattern.latent_frames.value * s->pattern.patches.value;
    const lvsa_strides q_strides = {0, (int64_t)a->heads.value * d, d},
                       kv_strides = {0, (int64_t)kv_heads * d, d};
    lvsa_attention call = {.size = sizeof call,
                           .dtype = dtypes[a->dtype.value].dtype,
                           .fp8 = a->attention_dtype.value,
                           .batch = 1,
                           .queries = rows,
                           .heads = a->heads.value,
                           .kv_heads = kv_heads,
                           .head_dim = d,
                           .q = t->data[Q],
                           .q_strides = q_strides,
                           .out = t->data[OUT],
                           .out_strides = q_strides,
                           .sources = text > 0 ? 2 : 1,
                           .backend = (lvsa_backend)a->backend.value,
                           .device = t->device,
                           .threads = a->threads.value};
    const lvsa_source source = {.k_strides = kv_strides, .v_strides = kv_strides};
    call.source[0] = call.source[1] = source;
    call.source[0].k = t->data[K], call.source[0].v = t->data[V], call.source[0].tokens = rows;
    call.source[1].k = t->data[TEXT_K], call.source[1].v = t->data[TEXT_V];
    call.source[1].tokens = text;
    return call;
}

/* ---- bench attention: measuring -------------------------------------------------------------- */

/* One call that was measured, or why it wasn't. */
typedef struct measurement {
    const char *name, *kernel;
    char missing[512];
    double frame_pairs, flops;
    timing time, host; /* of the whole, and until the call returned */
} measurement;

enum { SPARSE, SDPA, FLASHINFER, DENSE, MEASUREMENTS };

/* One run that isn't measured, then as many as are wanted or there is time for. */
static exit_code time_runs(measurement *out, const lvsa_attention *call, const measure_settings *s,
                           const char *name)
{
    note(TALK_NORMAL, "%s: %d runs, or as many as %g s allow", name, s->repeat.value,
         s->seconds.value);
    double *seconds = calloc((size_t)s->repeat.value, 2 * sizeof *seconds);
    if (!seconds) return complain(CODE_MEMORY, "%d times don't fit in memory", s->repeat.value);
    double *host = seconds + s->repeat.value;
    lvsa_status status = lvsa_attention_run(call);
    if (status == LVSA_OK) status = lvsa_device_synchronize(call->device, call->stream);
    const double end = clock_seconds() + s->seconds.value;
    int runs = 0;
    while (status == LVSA_OK && runs < s->repeat.value && (runs == 0 || clock_seconds() < end)) {
        double start = clock_seconds();
        status = lvsa_attention_run(call);
        host[runs] = clock_seconds() - start;
        if (status == LVSA_OK) status = lvsa_device_synchronize(call->device, call->stream);
        seconds[runs++] = clock_seconds() - start;
        note(TALK_VERBOSE, "%s, run %d: %.3f ms", name, runs, 1e3 * seconds[runs - 1]);
    }
    if (status == LVSA_OK) out->time = summarise(seconds, runs), out->host = summarise(host, runs);
    free(seconds);
    return complain_status(status);
}

/* The FLOPs of the text's pairs come on top of the frames'. */
static double flops_of(const bench_settings *s, double frame_pairs)
{
    const attention_settings *a = &s->attention;
    const double patches = s->pattern.patches.value, text = a->text.value;
    return pattern_flops(frame_pairs + s->pattern.latent_frames.value * text / patches,
                         s->pattern.patches.value, a->heads.value, a->head_dim.value);
}

static exit_code measure(measurement *out, lvsa_attention *call, const bench_settings *s)
{
    const char *name = out->name;
    lvsa_tiles *tiles = NULL;
    out->flops = flops_of(s, out->frame_pairs);
    lvsa_status status = lvsa_attention_kernel(&out->kernel, call);
    if (status == LVSA_OK) status = lvsa_attention_workspace(&call->workspace_size, call);
    if (status == LVSA_OK)
        status = lvsa_device_alloc(&call->workspace, call->device, call->workspace_size);
    double start = clock_seconds();
    if (status == LVSA_OK) status = lvsa_tiles_create(&tiles, call);
    if (call->device != LVSA_DEVICE_CPU)
        note(TALK_VERBOSE, "%s: the tiles took %.0f us", name, 1e6 * (clock_seconds() - start));
    call->tiles = tiles;
    exit_code code =
        status == LVSA_OK ? time_runs(out, call, &s->measure, name) : complain_status(status);
    lvsa_tiles_free(&tiles);
    lvsa_device_free(&call->workspace, call->device);
    call->tiles = NULL;
    return code;
}

/* Dense products of 16-bit numbers and of fp8, H100 and H200 SXM, in TFLOP/s as their maker states
 * it. */
static double peak_of(const attention_settings *a)
{
    return a->attention_dtype.value ? 1979.0 : 989.0;
}

static void print_measurement(const measurement *m, int frames, const attention_settings *a)
{
    const double rate = m->flops / m->time.median;
    if (m->missing[0]) {
        printf("%-10s %s\n", m->name, m->missing);
        return;
    }
    printf("%-10s %12.3f %12.3f ", m->name, 1e3 * m->time.median, 1e3 * m->time.best);
    if (a->device.value == LVSA_DEVICE_CPU) printf("%12.2f", 1e-9 * rate);
    else printf("%12.1f %10.1f %%", 1e-12 * rate, 1e-10 * rate / peak_of(a));
    printf(" %10.2f  %d\n", m->frame_pairs / frames, m->time.runs);
}

static void print_attention_table(const bench_settings *s, const measurement *m, const char *gpu)
{
    const measurement *sparse = &m[SPARSE], *dense = &m[DENSE];
    const attention_settings *a = &s->attention;
    const int frames = s->pattern.latent_frames.value, patches = s->pattern.patches.value;
    const lvsa_device device = (lvsa_device)a->device.value;
    printf("%s: %d frames x %d patches, %d heads x %d, %s", sparse->kernel, frames, patches,
           a->heads.value, a->head_dim.value, dtypes[a->dtype.value].name);
    if (kv_heads_of(a) != a->heads.value) printf(", %d kv heads", kv_heads_of(a));
    if (a->text.value) printf(", %d rows of text", a->text.value);
    printf("%s%s\n", *gpu ? "\n" : "", gpu);
    if (device == LVSA_DEVICE_CPU)
        printf("%-10s %12s %12s %12s %10s  %s\n", "", "median ms", "best ms", "GFLOP/s", "frames",
               "runs");
    else
        printf("%-10s %12s %12s %12s %7s %4.0f %10s  %s\n", "", "median ms", "best ms", "TFLOP/s",
               "of", peak_of(a), "frames", "runs");
    for (int i = 0; i < MEASUREMENTS; i++)
        if (m[i].name) print_measurement(&m[i], frames, a);
    if (dense->name) {
        printf("%.2fx faster for %.2fx less work\n", dense->time.median / sparse->time.median,
               dense->flops / sparse->flops);
    }
    if (device == LVSA_DEVICE_CPU) return;
    printf("host: a call returns after %.1f us (median; best %.1f)\n", 1e6 * sparse->host.median,
           1e6 * sparse->host.best);
}

static json_t *measurement_object(const measurement *m)
{
    if (!m->name) return json_null();
    if (m->missing[0]) return json_pack("{s:s}", "missing", m->missing);
    return json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:i}", "kernel", m->kernel, "median_ms",
                     1e3 * m->time.median, "best_ms", 1e3 * m->time.best, "call_us",
                     1e6 * m->host.median, "gflops", 1e-9 * m->flops / m->time.median,
                     "frame_pairs", m->frame_pairs, "runs", m->time.runs);
}

/* Takes the object; NULL is one that found no memory. */
static exit_code print_object(json_t *object)
{
    if (!object) return complain(CODE_MEMORY, "a JSON object doesn't fit in memory");
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
    return CODE_DONE;
}

static exit_code print_attention_json(const bench_settings *s, const measurement *m)
{
    const attention_settings *a = &s->attention;
    return print_object(json_pack(
        "{s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:i,s:o,s:o,s:o*,s:o*}", "latent_frames",
        s->pattern.latent_frames.value, "patches_per_frame", s->pattern.patches.value, "heads",
        a->heads.value, "kv_heads", kv_heads_of(a), "head_dim", a->head_dim.value, "text",
        a->text.value, "dtype", dtypes[a->dtype.value].name, "device", device_name(a->device.value),
        "threads", a->threads.value, "sparse", measurement_object(&m[SPARSE]), "dense",
        measurement_object(&m[DENSE]), "sdpa", m[SDPA].name ? measurement_object(&m[SDPA]) : NULL,
        "flashinfer", m[FLASHINFER].name ? measurement_object(&m[FLASHINFER]) : NULL));
}

static exit_code bench_plan_of(lvsa_plan **plan, lvsa_plan_info *info, const pattern_settings *s)
{
    const lvsa_plan_options usual = LVSA_PLAN_OPTIONS_INIT, o = pattern_options(s, usual);
    *info = (lvsa_plan_info){.size = sizeof *info};
    lvsa_status status = lvsa_plan_create(plan, &o);
    if (status == LVSA_OK) status = lvsa_plan_get_info(info, *plan);
    return complain_status(status);
}

static void take(int_setting *setting, int value)
{
    if (setting->from != FROM_FLAG) *setting = (int_setting){FROM_FLAG, value};
}

/* The shape's sizes, where no flag says otherwise. */
static void apply_shape(bench_settings *s)
{
    if (s->attention.shape.value == 0) return;
    const int i = s->attention.shape.value - 1;
    const bool own_heads = s->attention.heads.from == FROM_FLAG;
    take(&s->pattern.latent_frames, shapes[i].frames);
    take(&s->pattern.patches, shapes[i].patches);
    take(&s->pattern.reference, shapes[i].reference);
    take(&s->pattern.rotation, shapes[i].rotation);
    take(&s->attention.heads, shapes[i].heads);
    if (!own_heads) take(&s->attention.kv_heads, shapes[i].kv_heads);
    take(&s->attention.head_dim, shapes[i].head_dim);
    take(&s->attention.text, shapes[i].text);
    take(&s->attention.dtype, 1);
}

/* What the GPU is called; "" on the CPU. */
static exit_code find_device(lvsa_device_info *info, lvsa_device device)
{
    *info = (lvsa_device_info){.size = sizeof *info};
    if (device == LVSA_DEVICE_CPU) return CODE_DONE;
    return complain_status(lvsa_device_get_info(info, device));
}

/* Another back end's measurement: that it can't run is a line of the table too. */
static exit_code measure_other(measurement *out, const char *name, lvsa_backend backend,
                               lvsa_attention call, const bench_settings *s)
{
    out->name = name;
    call.backend = backend;
    if (lvsa_attention_kernel(&out->kernel, &call) == LVSA_OK) return measure(out, &call, s);
    snprintf(out->missing, sizeof out->missing, "%s", lvsa_last_error());
    return CODE_DONE;
}

static exit_code measure_all(const bench_settings *s, const lvsa_plan *plan, double frame_pairs,
                             lvsa_attention *call, const char *gpu)
{
    const int compare = s->measure.compare.value;
    const double frames = s->pattern.latent_frames.value;
    measurement m[MEASUREMENTS] = {{.name = NULL}};
    for (int i = 0; i < MEASUREMENTS; i++) m[i].frame_pairs = frame_pairs;
    m[DENSE].frame_pairs = frames * frames;
    m[SPARSE].name = "sparse";
    call->source[0].runs = lvsa_plan_get_runs(plan);
    exit_code code = measure(&m[SPARSE], call, s);
    if (code == CODE_DONE && compare == COMPARE_ALL)
        code = measure_other(&m[SDPA], "sdpa", LVSA_BACKEND_SDPA, *call, s);
    if (code == CODE_DONE && compare == COMPARE_ALL)
        code = measure_other(&m[FLASHINFER], "flashinfer", LVSA_BACKEND_FLASHINFER, *call, s);
    call->source[0].runs = NULL;
    if (code == CODE_DONE && compare) {
        m[DENSE].name = "dense";
        code = measure(&m[DENSE], call, s);
    }
    if (code != CODE_DONE) return code;
    if (s->measure.json.value) return print_attention_json(s, m);
    print_attention_table(s, m, gpu);
    return CODE_DONE;
}

static exit_code run_bench_attention(const void *settings)
{
    bench_settings s = *(const bench_settings *)settings;
    apply_shape(&s);
    lvsa_plan *plan = NULL;
    lvsa_plan_info info;
    lvsa_device_info device;
    tensors t = {.device = (lvsa_device)s.attention.device.value};

    exit_code code = bench_plan_of(&plan, &info, &s.pattern);
    if (code == CODE_DONE) code = find_device(&device, t.device);
    if (code == CODE_DONE) code = make_tensors(&t, &s);
    if (code == CODE_DONE) {
        lvsa_attention call = make_call(&t, &s);
        code = measure_all(&s, plan, (double)info.attended_sum, &call, device.name);
    }
    free_tensors(&t);
    lvsa_plan_free(&plan);
    return code;
}

static const char *const bench_attention_examples[] = {
    "lvsa bench attention --compare dense",
    "a small video, sparse and dense",
    "lvsa bench attention --latent-frames 81 --patches-per-frame 1560 --heads 12 --head-dim 128",
    "the size of Wan 2.1 1.3B's attention over 20 seconds at 480p",
    "lvsa bench attention --device cuda --shape wan-81",
    "the same on a GPU",
    NULL};

const command bench_attention_command = {
    .name = "bench attention",
    .summary = "measure the attention of one layer on this machine",
    .details =
        "Runs one layer's attention over random tensors, the same ones each time, and prints the "
        "median and the best time and the rate over the pairs of tokens that attend to each other.",
    .examples = bench_attention_examples,
    .groups = bench_attention_groups,
    .settings_size = sizeof(bench_settings),
    .computes = true,
    .run = run_bench_attention};

/* ---- bench plan ------------------------------------------------------------------------------ */

typedef struct bench_plan_settings {
    common_settings common; /* first: see run_command() */
    pattern_settings pattern;
    measure_settings measure;
} bench_plan_settings;

static const option bench_plan_pattern_options[] = {PATTERN_OPTIONS("1000", "1560", "21"),
                                                    {.name = NULL}};

static const option bench_plan_measure_options[] = {
    REPEAT_OPTION("1000"), JSON_OPTION, {.name = NULL}};

static const option_group bench_plan_groups[] = {
    {"The video and the pattern, in latent units", bench_plan_pattern_options,
     offsetof(bench_plan_settings, pattern)},
    {"The measurement", bench_plan_measure_options, offsetof(bench_plan_settings, measure)},
    {"Help", help_options, 0},
    {NULL, NULL, 0}};

static exit_code time_steps(timing *out, lvsa_plan *plan, int steps)
{
    double *seconds = calloc((size_t)steps, sizeof *seconds);
    if (!seconds) return complain(CODE_MEMORY, "%d times don't fit in memory", steps);
    lvsa_status status = LVSA_OK;
    for (int i = 0; i < steps && status == LVSA_OK; i++) {
        double start = clock_seconds();
        status = lvsa_plan_set_step(plan, i + 1);
        seconds[i] = clock_seconds() - start;
    }
    if (status == LVSA_OK) *out = summarise(seconds, steps);
    free(seconds);
    return complain_status(status);
}

static exit_code run_bench_plan(const void *settings)
{
    const bench_plan_settings *s = settings;
    lvsa_plan *plan = NULL;
    lvsa_plan_info info;
    timing t = {0};
    exit_code code = bench_plan_of(&plan, &info, &s->pattern);
    if (code == CODE_DONE && info.keyframe_interval <= 1)
        code = complain(
            CODE_USAGE,
            "keyframe interval %d: nothing moves from step to step; use more frames than the "
            "reference, or an interval above 1",
            info.keyframe_interval);
    if (code == CODE_DONE) code = time_steps(&t, plan, s->measure.repeat.value);
    if (code == CODE_DONE && s->measure.json.value)
        code = print_object(json_pack("{s:i,s:i,s:f,s:f,s:f,s:i}", "latent_frames",
                                      info.latent_frames, "kfi", info.keyframe_interval,
                                      "median_us", 1e6 * t.median, "best_us", 1e6 * t.best,
                                      "worst_us", 1e6 * t.worst, "runs", t.runs));
    else if (code == CODE_DONE)
        printf("lvsa_plan_set_step: %d frames, kfi %d: %.2f us median, %.2f best, %.2f worst of "
               "%d steps\n",
               info.latent_frames, info.keyframe_interval, 1e6 * t.median, 1e6 * t.best,
               1e6 * t.worst, t.runs);
    lvsa_plan_free(&plan);
    return code;
}

static const char *const bench_plan_examples[] = {"lvsa bench plan --latent-frames 81",
                                                  "20 seconds of Wan at 16 frames a second", NULL};

const command bench_plan_command = {
    .name = "bench plan",
    .summary = "measure how long the move to the next denoising step takes",
    .details =
        "Moves a plan's keyframes from step to step, as a denoising loop does between its forward "
        "passes, and prints the time a move takes.",
    .examples = bench_plan_examples,
    .groups = bench_plan_groups,
    .settings_size = sizeof(bench_plan_settings),
    .run = run_bench_plan};
