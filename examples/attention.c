/* attention.c: the library from outside: plan a video, then attend over it, sparse against dense.
 * Build: cc attention.c $(pkg-config --cflags --libs lvsa) -lm */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <lvsa/lvsa.h>

enum { T = 33, P = 24, H = 2, D = 64, S = T * P, ROW = H * D };

static void die(void)
{
    fprintf(stderr, "%s\n", lvsa_last_error());
    exit(1);
}

static float *make_tensor(double phase)
{
    float *tensor = malloc(sizeof *tensor * S * ROW);
    if (!tensor) exit(3);
    for (int i = 0; i < S * ROW; i++)
        tensor[i] = (float)sin(phase + 0.37 * i + 0.0011 * i * (i % 7));
    return tensor;
}

/* q, k, v and out are [1, S, H, D], contiguous. */
static void attend(float *out, const float *q, const float *k, const float *v,
                   const lvsa_runs *runs)
{
    const lvsa_strides strides = {.batch = S * ROW, .token = ROW, .head = D};
    lvsa_attention call = {.size = sizeof call, .dtype = LVSA_F32, .batch = 1, .queries = S};
    call.heads = call.kv_heads = H, call.head_dim = D;
    call.q = q, call.q_strides = strides;
    call.out = out, call.out_strides = strides;
    call.sources = 1;
    call.source[0] = (lvsa_source){
        .k = k, .v = v, .k_strides = strides, .v_strides = strides, .tokens = S, .runs = runs};
    if (lvsa_attention_workspace(&call.workspace_size, &call) != LVSA_OK) die();
    call.workspace = aligned_alloc(64, (call.workspace_size + 63) / 64 * 64);
    if (!call.workspace) exit(3);
    if (lvsa_attention_run(&call) != LVSA_OK) die();
    free(call.workspace);
}

int main(void)
{
    float *q = make_tensor(0.1), *k = make_tensor(0.7), *v = make_tensor(1.9);
    float *sparse = make_tensor(0.0), *dense = make_tensor(0.0);

    lvsa_plan_options options = LVSA_PLAN_OPTIONS_INIT;
    options.latent_frames = T, options.patches_per_frame = P, options.reference_latent_frames = 13;
    lvsa_plan *plan;
    if (lvsa_plan_create(&plan, &options) != LVSA_OK) die();
    lvsa_plan_info info = {.size = sizeof info};
    if (lvsa_plan_get_info(&info, plan) != LVSA_OK) die();

    attend(sparse, q, k, v, lvsa_plan_get_runs(plan));
    attend(dense, q, k, v, NULL);

    double difference = 0.0, size = 0.0;
    for (int i = 0; i < S * ROW; i++) {
        difference += pow((double)sparse[i] - dense[i], 2);
        size += pow((double)dense[i], 2);
    }
    printf("lvsa %s: %d of %d frames attended to, differs from dense by %.3f\n", lvsa_version(),
           info.attended_max, T, sqrt(difference / size));

    lvsa_plan_free(&plan);
    free(dense);
    free(sparse);
    free(v);
    free(k);
    free(q);
    return difference > 0.0 ? 0 : 1;
}
