/* gemm.c: what fp32 matrix products reach on this machine, through OpenBLAS or oneDNN: the
 * yardstick for attention's products. usage: bench_gemm [N] [THREADS]; prints the best of 7 runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(LVSA_BENCH_ONEDNN)
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
static const char library[] = "oneDNN";
static void set_threads(int threads) { omp_set_num_threads(threads); }
static void multiply(float *c, const float *a, const float *b, int n)
{
    if (dnnl_sgemm('N', 'N', n, n, n, 1.0f, a, n, b, n, 0.0f, c, n) != dnnl_success) exit(1);
}
#else
#include <cblas.h>
static const char library[] = "OpenBLAS";
static void set_threads(int threads) { openblas_set_num_threads(threads); }
static void multiply(float *c, const float *a, const float *b, int n)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
}
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 2048, threads = argc > 2 ? atoi(argv[2]) : 1;
    size_t count = (size_t)n * (size_t)n;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b),
          *c = malloc(count * sizeof *c);
    if (n < 1 || threads < 1 || !a || !b || !c) return 1;
    for (size_t i = 0; i < count; i++) {
        a[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        b[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    }
    set_threads(threads);
    double best = 1e30;
    for (int i = 0; i < 8; i++) { /* the first warms up */
        double start = now();
        multiply(c, a, b, n);
        double seconds = now() - start;
        if (i > 0 && seconds < best) best = seconds;
    }
    printf("%s sgemm %d^3, %d thread%s: %.1f GFLOP/s\n", library, n, threads,
           threads > 1 ? "s" : "", 2e-9 * (double)n * (double)n * (double)n / best);
    return 0;
}
