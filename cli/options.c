/* options.c: from words to settings, by the table. */
#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"

enum { NAME_MAX_LENGTH = 48, SHOWN_MAX = 60 }; /* of a long name; of a value in a sentence */

typedef struct parser {
    char *settings;
    const option_group *groups;
    char *sentence;
    size_t size;
} parser;

/* An option of the table, where its value goes, and how it was asked for. */
typedef struct match {
    const option *option; /* NULL: none */
    void *setting;
    bool negated;
} match;

static bool wrong(parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->sentence, p->size, format, args);
    va_end(args);
    return false;
}

static match match_of(const parser *p, const option_group *g, const option *o, bool negated)
{
    return (match){o, p->settings + g->base + o->offset, negated};
}

/* ---- the nearest word ------------------------------------------------------------------------ */

static int min_int(int a, int b) { return a < b ? a : b; }

/* Letters to insert, drop, change or swap with their neighbour to get from one word to another. */
static int edit_distance(const char *a, const char *b)
{
    int row[3][NAME_MAX_LENGTH +
               1]; /* of the table [letters of a][letters of b]: this one and two before */
    int rows = (int)strlen(a), columns = (int)strlen(b);
    if (rows > NAME_MAX_LENGTH || columns > NAME_MAX_LENGTH) return NAME_MAX_LENGTH;
    for (int j = 0; j <= columns; j++) row[0][j] = j;
    for (int i = 1; i <= rows; i++) {
        int *now = row[i % 3];
        const int *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= columns; j++) {
            now[j] =
                min_int(min_int(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min_int(now[j], before[j - 2] + 1);
        }
    }
    return row[rows % 3][columns];
}

nearest nearest_begin(const char *word)
{
    int length = (int)strnlen(word, NAME_MAX_LENGTH);
    return (nearest){word, (length + 2) / 3 + 1, NULL}; /* a third of its letters may be wrong */
}

int nearest_try(nearest *n, const char *candidate)
{
    int distance = edit_distance(n->word, candidate);
    if (distance >= n->distance) return 0;
    n->distance = distance;
    n->best = candidate;
    return 1;
}

static bool unknown_option(parser *p, const char *name)
{
    bool negated = strncmp(name, "no-", 3) == 0;
    nearest plain = nearest_begin(name), flag = nearest_begin(negated ? name + 3 : "");
    for (const option_group *g = p->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            nearest_try(&plain, o->name);
            if (negated && o->type == OPTION_FLAG) nearest_try(&flag, o->name);
        }
    if (flag.best && flag.distance < plain.distance)
        return wrong(p, "unknown option --%.*s; did you mean --no-%s?", SHOWN_MAX, name, flag.best);
    if (plain.best)
        return wrong(p, "unknown option --%.*s; did you mean --%s?", SHOWN_MAX, name, plain.best);
    return wrong(p, "unknown option --%.*s; --help lists all", SHOWN_MAX, name);
}

/* ---- finding an option ----------------------------------------------------------------------- */

static bool is_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at && *at && length > 0;) {
        size_t here = strcspn(at, " ");
        if (here == length && memcmp(at, word, length) == 0) return true;
        at += here;
        at += *at == ' ';
    }
    return false;
}

static bool has_name(const option *o, const char *name)
{
    return strcmp(o->name, name) == 0 || is_word(o->aliases, name);
}

static match find_long(const parser *p, const char *name)
{
    bool negated = strncmp(name, "no-", 3) == 0;
    for (const option_group *g = p->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            if (has_name(o, name)) return match_of(p, g, o, false);
            if (negated && o->type == OPTION_FLAG && has_name(o, name + 3))
                return match_of(p, g, o, true);
        }
    return (match){NULL, NULL, false};
}

static match find_letter(const parser *p, char letter)
{
    for (const option_group *g = p->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            if (o->letter == letter) return match_of(p, g, o, false);
    return (match){NULL, NULL, false};
}

/* The first operand that has no word yet, or the last. */
static match find_operand(const parser *p)
{
    match found = {NULL, NULL, false};
    for (const option_group *g = p->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            if (!o->operand) continue;
            found = match_of(p, g, o, false);
            if (*(const origin *)found.setting != FROM_FLAG) return found;
        }
    return found;
}

static bool has_setting(const option *o)
{
    return o->type != OPTION_REFUSED && o->type != OPTION_HELP;
}

static bool takes_value(const option *o) { return has_setting(o) && o->type != OPTION_FLAG; }

/* ---- reading a value ------------------------------------------------------------------------- */

/* In all of these, `shown` is what was typed, e.g. "--width 8x" or "LVSA_WINDOW_SIZE=8x". */

/* strtod() and strtoll() would pass over spaces, and take "nan", "0x10" and "". */
static bool looks_decimal(const char *text)
{
    return *text != '\0' && text[strspn(text, "+-.0123456789eE")] == '\0';
}

static bool read_int(parser *p, match m, const char *shown, const char *text, origin from)
{
    char *end = NULL;
    errno = 0;
    long long number = looks_decimal(text) ? strtoll(text, &end, 10) : 0;
    if (!end || end == text || *end || errno || (double)number < m.option->lo ||
        (double)number > m.option->hi)
        return wrong(p, "%s: a whole number from %.0f to %.0f is wanted", shown, m.option->lo,
                     m.option->hi);
    *(int_setting *)m.setting = (int_setting){from, (int)number};
    return true;
}

static bool read_whole(parser *p, match m, const char *shown, const char *text, origin from)
{
    errno = 0;
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return wrong(p, "%s: a whole number from 0 to %" PRIu64 " is wanted", shown, UINT64_MAX);
    *(whole_setting *)m.setting = (whole_setting){from, number};
    return true;
}

static bool read_number(parser *p, match m, const char *shown, const char *text, origin from)
{
    char *end = NULL;
    double number = looks_decimal(text) ? strtod(text, &end) : 0.0;
    if (!end || end == text || *end || !(number >= m.option->lo && number <= m.option->hi))
        return wrong(p, "%s: a number from %g to %g is wanted", shown, m.option->lo, m.option->hi);
    *(number_setting *)m.setting = (number_setting){from, number};
    return true;
}

static bool read_choice(parser *p, match m, const char *shown, const char *text, origin from)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; m.option->choice(i); i++) {
        if (strcmp(text, m.option->choice(i)) == 0) {
            *(int_setting *)m.setting = (int_setting){from, i};
            return true;
        }
        const char *comma = i == 0 ? "" : m.option->choice(i + 1) ? ", " : " or ";
        int length =
            snprintf(known + used, sizeof known - used, "%s%s", comma, m.option->choice(i));
        if (length > 0 && (size_t)length < sizeof known - used) used += (size_t)length;
    }
    return wrong(p, "%s: %s is wanted", shown, known);
}

static bool read_flag(parser *p, match m, const char *shown, const char *text, origin from)
{
    if (!is_word("1 true yes on 0 false no off", text))
        return wrong(p, "%s: 1 or 0 is wanted", shown);
    *(int_setting *)m.setting = (int_setting){from, is_word("1 true yes on", text)};
    return true;
}

/* Words may be none; a name, a file or a folder may not. */
static bool read_text(parser *p, match m, const char *shown, const char *text, origin from)
{
    if (*text == '\0' && !is_word("TEXT LIST", m.option->value))
        return wrong(p, "%s: it is empty; %s is wanted", shown, m.option->value);
    *(text_setting *)m.setting = (text_setting){from, text};
    return true;
}

static bool read_value(parser *p, match m, const char *shown, const char *text, origin from)
{
    switch (m.option->type) {
    case OPTION_FLAG: return read_flag(p, m, shown, text, from);
    case OPTION_INT: return read_int(p, m, shown, text, from);
    case OPTION_WHOLE: return read_whole(p, m, shown, text, from);
    case OPTION_NUMBER: return read_number(p, m, shown, text, from);
    case OPTION_CHOICE: return read_choice(p, m, shown, text, from);
    case OPTION_TEXT: return read_text(p, m, shown, text, from);
    case OPTION_REFUSED:
    case OPTION_HELP: return true;
    }
    return true;
}

/* ---- walking the words ----------------------------------------------------------------------- */

/* What is left to read. */
typedef struct words {
    int argc;
    char *const *argv;
} words;

static const char *take_word(words *w)
{
    if (w->argc == 0) return NULL;
    w->argc--;
    return *w->argv++;
}

static bool is_choice(const option *o, const char *word)
{
    for (int i = 0; o->choice && o->choice(i); i++)
        if (strcmp(word, o->choice(i)) == 0) return true;
    return false;
}

/* `name`: as typed, with its dashes; `value`: what was joined to it, or NULL for the next word. */
static bool read_valued(parser *p, match m, const char *name, const char *value, words *rest)
{
    const option *o = m.option;
    if (!value && o->bare && (rest->argc == 0 || !is_choice(o, rest->argv[0]))) value = o->bare;
    if (!value) value = take_word(rest);
    if (!value) return wrong(p, "%s: %s is missing after it", name, o->value);
    char shown[NAME_MAX_LENGTH + SHOWN_MAX + 4];
    snprintf(shown, sizeof shown, "%.*s %.*s", NAME_MAX_LENGTH, name, SHOWN_MAX,
             *value ? value : "\"\"");
    return read_value(p, m, shown, value, FROM_FLAG);
}

static bool read_long(parser *p, const char *word, words *rest, bool *help)
{
    char name[NAME_MAX_LENGTH + 3];
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    if (length >= sizeof name)
        return wrong(p, "unknown option %.*s...; --help lists all", SHOWN_MAX, word);
    memcpy(name, word, length);
    name[length] = '\0';

    match m = find_long(p, name + 2);
    if (!m.option) return unknown_option(p, name + 2);
    if (m.option->type == OPTION_REFUSED) return wrong(p, "%s: %s", name, m.option->help);
    if (takes_value(m.option)) return read_valued(p, m, name, equals ? equals + 1 : NULL, rest);
    if (equals) return wrong(p, "%s takes no value", name);
    if (m.option->type == OPTION_HELP) *help = true;
    else *(int_setting *)m.setting = (int_setting){FROM_FLAG, !m.negated};
    return true;
}

/* -q, -qv, -W 832, -W832. */
static bool read_letters(parser *p, const char *word, words *rest, bool *help)
{
    for (const char *at = word + 1; *at && !*help; at++) {
        char name[3] = {'-', *at, '\0'};
        match m = find_letter(p, *at);
        if (!m.option) return wrong(p, "unknown option %s; --help lists all", name);
        if (takes_value(m.option)) return read_valued(p, m, name, at[1] ? at + 1 : NULL, rest);
        if (m.option->type == OPTION_HELP) *help = true;
        else *(int_setting *)m.setting = (int_setting){FROM_FLAG, 1};
    }
    return true;
}

/* For what no flag has set: the environment, then the table. An empty variable is as none. */
static bool fill(parser *p, match m)
{
    const option *o = m.option;
    if (!has_setting(o) || *(origin *)m.setting == FROM_FLAG) return true;
    const char *text = o->environment ? environment_find(o->environment) : NULL;
    if (text) {
        char shown[NAME_MAX_LENGTH + SHOWN_MAX + 4];
        snprintf(shown, sizeof shown, "%s=%.*s", o->environment, SHOWN_MAX, text);
        return read_value(p, m, shown, text, FROM_ENVIRONMENT);
    }
    return !o->fallback || read_value(p, m, o->name, o->fallback, FROM_DEFAULT);
}

/* A word that no option announced. */
static bool read_operand(parser *p, const char *word)
{
    match m = find_operand(p);
    if (!m.option && word[0] == '-' && word[1] != '\0')
        return wrong(p, "\"%.*s\": after -- nothing is wanted here", SHOWN_MAX, word);
    if (!m.option) return wrong(p, "\"%.*s\" is no option: they begin with --", SHOWN_MAX, word);
    if (*(origin *)m.setting == FROM_FLAG)
        return wrong(p, "\"%.*s\": one %s is enough", SHOWN_MAX, word, m.option->value);
    return read_value(p, m, *word ? word : "\"\"", word, FROM_FLAG);
}

parse_result options_parse(void *settings, const option_group *groups, int argc, char *const *argv,
                           char *sentence, size_t size)
{
    parser p = {settings, groups, sentence, size};
    words rest = {argc, argv};
    bool help = false, good = true;
    bool operands = false; /* are all that comes: after "--" */
    for (const char *word; good && !help && (word = take_word(&rest)) != NULL;) {
        if (operands) good = read_operand(&p, word);
        else if (strcmp(word, "--") == 0) operands = true;
        else if (word[0] != '-' || word[1] == '\0') good = read_operand(&p, word);
        else if (word[1] == '-') good = read_long(&p, word, &rest, &help);
        else good = read_letters(&p, word, &rest, &help);
    }
    if (help) return PARSE_HELP;
    good = good && environment_read(sentence, size);
    for (const option_group *g = groups; g->options && good; g++)
        for (const option *o = g->options; o->name && good; o++)
            good = fill(&p, match_of(&p, g, o, false));
    return good ? PARSE_RUN : PARSE_WRONG;
}

int options_is_flag(const void *settings, const option_group *groups, const char *name)
{
    for (const option_group *g = groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            if (has_setting(o) && strcmp(o->name, name) == 0)
                return *(const origin *)((const char *)settings + g->base + o->offset) == FROM_FLAG;
    return 0;
}

int options_set(void *settings, const option_group *groups, const char *name, const char *text,
                char *sentence, size_t size)
{
    parser p = {settings, groups, sentence, size};
    char shown[NAME_MAX_LENGTH + SHOWN_MAX + 4];
    match m = find_long(&p, name);
    if (!m.option || m.negated || !has_setting(m.option)) return unknown_option(&p, name);
    snprintf(shown, sizeof shown, "--%.*s %.*s", NAME_MAX_LENGTH, name, SHOWN_MAX,
             *text ? text : "\"\"");
    return read_value(&p, m, shown, text, FROM_FLAG);
}
