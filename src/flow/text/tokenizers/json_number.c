/* json_number.c: decimal to fp64 as serde_json's default does it: digits into 64 bits, the rest
 * of them dropped, then one multiplication or division by a power of ten (serde_json src/de.rs). */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "flow/text/tokenizers/json_vocab.h"

/* A number as it is read: digits * 10^exponent. */
typedef struct number {
    uint64_t digits;
    int64_t exponent;
    bool full; /* a digit didn't fit: those that follow don't count */
} number;

static bool is_digit(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

/* False when the digit doesn't fit. */
static bool push_digit(number *n, char c)
{
    uint64_t digit = (uint64_t)(c - '0');
    if (n->digits > (UINT64_MAX - digit) / 10) return false;
    n->digits = 10 * n->digits + digit;
    return true;
}

/* Past 64 bits, digits before the point count as powers of ten. */
static const char *read_integer(number *n, const char *at, const char *end)
{
    if (!is_digit(at, end)) return NULL;
    if (*at == '0') return is_digit(at + 1, end) ? NULL : at + 1;
    while (is_digit(at, end) && push_digit(n, *at)) at++;
    for (; is_digit(at, end); at++) n->exponent++;
    return at;
}

static const char *read_fraction(number *n, const char *at, const char *end)
{
    if (at == end || *at != '.') return at;
    if (!is_digit(++at, end)) return NULL;
    for (; is_digit(at, end); at++) {
        if (!n->full && push_digit(n, *at)) n->exponent--;
        else n->full = true;
    }
    return at;
}

static const char *read_exponent(number *n, const char *at, const char *end)
{
    if (at == end || (*at != 'e' && *at != 'E')) return at;
    at++;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (!is_digit(at, end)) return NULL;
    int64_t exponent = 0;
    for (; is_digit(at, end); at++)
        if (exponent <= INT32_MAX) exponent = 10 * exponent + (*at - '0');
    n->exponent += negative ? -exponent : exponent;
    return at;
}

/* 10^e as the nearest fp64, 0 <= e <= 308. */
static double power_of_ten(int64_t e)
{
    static const double small[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (e <= 22) return small[e]; /* exact in fp64 */
    char text[8] = "1e";
    snprintf(text + 2, sizeof text - 2, "%d", (int)e);
    return strtod(text, NULL);
}

const char *lv_json_read_number(double *out, const char *at, const char *end)
{
    number n = {0};
    bool negative = at < end && *at == '-';
    at = read_integer(&n, negative ? at + 1 : at, end);
    if (at) at = read_fraction(&n, at, end);
    if (at) at = read_exponent(&n, at, end);
    if (!at) return NULL;

    double value = (double)n.digits;
    while (n.exponent < -308 && value != 0) {
        value /= 1e308;
        n.exponent += 308;
    }
    if (value != 0 && n.exponent > 308) return NULL;
    if (value != 0 && n.exponent >= 0) value *= power_of_ten(n.exponent);
    if (value != 0 && n.exponent < 0) value /= power_of_ten(-n.exponent);
    if (isinf(value)) return NULL;
    *out = negative ? -value : value;
    return at;
}
