/* profile.c: prints profiles. */
#include "profile.h"

#include <stdbool.h>

/* "612.3", then how much of the peak that is: of `seconds` those that it would take; "-" where
 * there is nothing to divide. */
static void print_rate(FILE *out, double amount, double seconds, double unit, double least_seconds)
{
    const bool known = amount > 0.0 && seconds > 0.0;
    if (known) fprintf(out, " %10.4g", amount / seconds / unit);
    else fprintf(out, " %10s", "-");
    if (least_seconds < 0.0) return;
    if (known) fprintf(out, " %6.1f %%", 100.0 * least_seconds / seconds);
    else fprintf(out, " %8s", "-");
}

static void print_line(FILE *out, const lvsa_profile *p, const lvsa_profile_row *r, double whole)
{
    fprintf(out, "%-12s %8lld %11.2f %6.1f %%", r->kind, (long long)r->calls, 1e3 * r->seconds,
            100.0 * r->seconds / whole);
    print_rate(out, r->flops, r->seconds, 1e12, p->peak_flops > 0.0 ? r->least_seconds : -1.0);
    print_rate(out, r->bytes, r->seconds, 1e9,
               p->peak_bytes > 0.0 ? r->bytes / p->peak_bytes : -1.0);
    fputc('\n', out);
}

void profile_print(FILE *out, const lvsa_profile *p, lvsa_phase phase)
{
    lvsa_profile_row sum = {.kind = "together"}, rest = {.kind = "between"};
    const double whole = p->seconds[phase];
    const bool peaks = p->peak_flops > 0.0;
    fprintf(out, "%-12s %8s %11s %8s %10s%s %10s%s\n", "", "calls", "ms", "", "TFLOP/s",
            peaks ? "  of peak" : "", "GB/s", peaks ? "  of peak" : "");
    for (int i = 0; i < p->rows; i++) {
        const lvsa_profile_row *r = &p->row[i];
        if (r->phase != phase) continue;
        print_line(out, p, r, whole);
        sum.calls += r->calls, sum.seconds += r->seconds;
        sum.flops += r->flops, sum.bytes += r->bytes, sum.least_seconds += r->least_seconds;
    }
    rest.seconds = whole > sum.seconds ? whole - sum.seconds : 0.0;
    print_line(out, p, &rest, whole);
    sum.seconds = whole;
    print_line(out, p, &sum, whole);
}
