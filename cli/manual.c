/* manual.c: --help, the man page and the shell's completion, from the tables. */
#include "manual.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { WIDTH = 80, INDENT = 30 }; /* of --help: a line, and where the sentences begin */

static const char exit_codes[] =
    "0 done, 1 failed, 2 wrong usage, 3 out of memory, 4 bad model, 130 interrupted";

/* See src/flow/models/defaults.c, which reads it. */
static const char files[] =
    ".SH FILES\n"
    "lvsa.json in a model's directory says what is usual for that model, in place of the family's\n"
    "numbers. All of its members may be left out. Lengths in \"pattern\" are frames of the video,\n"
    "multiples of a latent frame's; the interval may be \"auto\" or 0.\n"
    ".PP\n.RS\n.nf\n"
    "{\"frames\": 81, \"height\": 480, \"width\": 832, \"fps\": 16,\n"
    " \"steps\": 40, \"guidance\": 5.0, \"flow_shift\": 3.0,\n"
    " \"negative_prompt\": \"blurred\", \"reference_latent_frames\": 21,\n"
    " \"pattern\": {\"window_size\": 12, \"n_first_frames\": 4,\n"
    "             \"key_frame_interval\": \"auto\", \"sparsity_scale\": 1.0,\n"
    "             \"expand_window\": true, \"rotate_keyframes\": true,\n"
    "             \"trained_opening\": false}}\n"
    ".fi\n.RE\n";

/* ---- one option as text ---------------------------------------------------------------------- */

typedef struct text {
    char bytes[768];
    size_t length;
} text;

static void append(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(t->bytes + t->length, sizeof t->bytes - t->length, format, args);
    va_end(args);
    if (length > 0 && (size_t)length < sizeof t->bytes - t->length) t->length += (size_t)length;
}

/* Whether --no-name is of use: the flag is on by default, or the environment may turn it on. */
static bool has_opposite(const option *o)
{
    return o->type == OPTION_FLAG && (o->fallback || o->environment);
}

/* "help (choices; default x; VARIABLE)" */
static text describe(const option *o)
{
    text t = {.length = 0};
    append(&t, "%s", o->help);
    const char *open = " (";
    for (int i = 0; o->choice && o->choice(i); i++) {
        append(&t, "%s%s", open, o->choice(i));
        open = ", ";
    }
    if (o->choice) open = "; ";
    if (o->fallback) {
        append(&t, "%sdefault %s", open, o->type == OPTION_FLAG ? "on" : o->fallback);
        open = "; ";
    }
    if (o->environment) {
        append(&t, "%s%s", open, o->environment);
        open = "; ";
    }
    if (*open == ';') append(&t, ")");
    return t;
}

/* ---- --help ---------------------------------------------------------------------------------- */

/* Prints words from column `indent` on, where the first line already stands. */
static void print_wrapped(FILE *out, const char *words, int indent)
{
    bool first = true;
    int column = indent;
    while (*words) {
        int length = (int)strcspn(words, " ");
        if (!first && column + 1 + length > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", length, words);
        column += length + !first;
        first = false;
        words += length;
        words += *words == ' ';
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const option *o)
{
    text left = {.length = 0};
    if (o->type == OPTION_REFUSED) return;
    if (o->letter) append(&left, "  -%c, ", o->letter);
    else append(&left, "      ");
    append(&left, "--%s%s", has_opposite(o) ? "[no-]" : "", o->name);
    if (o->value) append(&left, o->bare ? " [%s]" : " %s", o->value);

    if ((int)left.length + 2 > INDENT) fprintf(out, "%s\n%*s", left.bytes, INDENT, "");
    else fprintf(out, "%-*s", INDENT, left.bytes);
    print_wrapped(out, describe(o).bytes, INDENT);
}

static void print_groups(FILE *out, const option_group *groups)
{
    for (const option_group *g = groups; g->options; g++) {
        fprintf(out, "\n%s:\n", g->heading);
        for (const option *o = g->options; o->name; o++) print_option(out, o);
    }
}

void manual_print_command_help(FILE *out, const command *c)
{
    fprintf(out, "usage: lvsa %s [OPTION...]", c->name);
    for (const option_group *g = c->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            if (o->operand) fprintf(out, " %s", o->value);
    fputs("\n\n", out);
    print_wrapped(out, c->details, 0);
    print_groups(out, c->groups);
    fprintf(out, "\nexamples:\n");
    for (const char *const *e = c->examples; *e; e += 2)
        fprintf(out, "  %s\n      %s\n", e[0], e[1]);
}

void manual_print_program_help(FILE *out, const option_group *program)
{
    fprintf(out, "usage: lvsa COMMAND [OPTION...]\n\n"
                 "Long videos from diffusion transformers.\n\ncommands:\n");
    for (const command *const *c = commands; *c; c++)
        fprintf(out, "  %-*s%s\n", INDENT - 2, (*c)->name, (*c)->summary);
    print_groups(out, program);
    fprintf(out, "\nlvsa COMMAND --help tells a command's options.\nexit codes: %s\n", exit_codes);
}

/* ---- the man page ---------------------------------------------------------------------------- */

/* Dashes are written as minus signs, so that what is copied from the page can be typed. */
static void print_roff(FILE *out, const char *words)
{
    if (*words == '.' || *words == '\'') fputs("\\&", out);
    for (; *words; words++) {
        if (*words == '\\') fputs("\\e", out);
        else if (*words == '-') fputs("\\-", out);
        else fputc(*words, out);
    }
}

static void print_bold_name(FILE *out, const char *prefix, const char *name, int length)
{
    text t = {.length = 0};
    append(&t, "%s%.*s", prefix, length, name);
    fputs("\\fB", out);
    print_roff(out, t.bytes);
    fputs("\\fR", out);
}

static void print_roff_option(FILE *out, const option *o)
{
    if (o->type == OPTION_REFUSED) return;
    fputs(".TP\n", out);
    if (o->letter) {
        print_bold_name(out, "-", &o->letter, 1);
        fputs(", ", out);
    }
    print_bold_name(out, "--", o->name, (int)strlen(o->name));
    if (has_opposite(o)) {
        fputs(", ", out);
        print_bold_name(out, "--no-", o->name, (int)strlen(o->name));
    }
    for (const char *at = o->aliases; at && *at;) {
        int length = (int)strcspn(at, " ");
        fputs(", ", out);
        print_bold_name(out, "--", at, length);
        at += length;
        at += *at == ' ';
    }
    if (o->value) fprintf(out, o->bare ? " [\\fI%s\\fR]" : " \\fI%s\\fR", o->value);
    fputc('\n', out);
    print_roff(out, describe(o).bytes);
    fputs(".\n", out);
}

static void print_roff_groups(FILE *out, const option_group *groups)
{
    for (const option_group *g = groups; g->options; g++) {
        fputs(".PP\n", out);
        print_roff(out, g->heading);
        fputs(":\n", out);
        for (const option *o = g->options; o->name; o++) print_roff_option(out, o);
    }
}

void manual_print_man_page(FILE *out, const option_group *program)
{
    fprintf(out,
            ".TH LVSA 1 \"\" \"lvsa %s\" \"User Commands\"\n"
            ".SH NAME\nlvsa \\- long videos from diffusion transformers\n"
            ".SH SYNOPSIS\n.B lvsa\n.I COMMAND\n[\\fIOPTION\\fR...]\n"
            ".SH OPTIONS\n",
            lvsa_version());
    print_roff_groups(out, program);
    fputs(".SH COMMANDS\n", out);
    for (const command *const *c = commands; *c; c++) {
        fprintf(out, ".SS lvsa %s\n", (*c)->name);
        print_roff(out, (*c)->details);
        fputc('\n', out);
        print_roff_groups(out, (*c)->groups);
        if (*(*c)->examples) fputs(".PP\nExamples:\n", out);
        for (const char *const *e = (*c)->examples; *e; e += 2) {
            fputs(".PP\n", out);
            print_roff(out, e[1]);
            fputs(":\n.PP\n.RS\n.nf\n", out);
            print_roff(out, e[0]);
            fputs("\n.fi\n.RE\n", out);
        }
    }
    fputs(files, out);
    fputs(
        ".SH ENVIRONMENT\nThe variables named above are read where no flag is given; an empty one\n"
        "counts as none. LVSA_CONFIG, a JSON object such as {\"window_size\": 24}, goes before\n"
        "them: its members are their names in small letters, without LVSA_.\n.PP\n"
        "LVSA_MODULE_DIR is where modules are looked for: CUDA's, FFmpeg's, MPI's, and those of\n"
        "the back ends sdpa and flashinfer.\n"
        "LVSA_CACHE_DIR, or lvsa in XDG_CACHE_HOME or ~/.cache, keeps how a GPU multiplies\n"
        "fastest, so that repeated runs give the same bits: a few kilobytes, which may be\n"
        "removed. LVSA_CUDA_KERNELS=sm80 takes the attention kernels for every card on Hopper\n"
        "too.\n"
        "LVSA_COMM_PORT is the port on which processes of torchrun or srun meet, in place of the\n"
        "one above MASTER_PORT or of the job's own. LVSA_COMM_TIMEOUT is for how many seconds\n"
        "they wait there for each other before they give up (120).\n",
        out);
    fprintf(out, ".SH EXIT STATUS\n%s.\n", exit_codes);
}

/* ---- bash's completion ----------------------------------------------------------------------- */

static void print_option_words(FILE *out, const option_group *groups)
{
    const char *space = "";
    for (const option_group *g = groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            if (o->type == OPTION_REFUSED) continue;
            fprintf(out, "%s--%s", space, o->name);
            if (has_opposite(o)) fprintf(out, " --no-%s", o->name);
            space = " ";
        }
}

/* What can follow an option: cases of the shell that begin with `before`. */
static void print_choice_cases(FILE *out, const char *before, const option_group *groups)
{
    for (const option_group *g = groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            if (!o->choice) continue;
            fprintf(out, "%s--%s) values='", before, o->name);
            for (int i = 0; o->choice(i); i++) fprintf(out, "%s%s", i ? " " : "", o->choice(i));
            fputs("' ;;\n", out);
        }
}

/* The words that can follow `before` in a command's name, "" for the first ones. */
static void print_command_words(FILE *out, const char *before)
{
    size_t length = strlen(before);
    const char *last = "";
    for (const command *const *c = commands; *c; c++) {
        if (strncmp((*c)->name, before, length) != 0) continue;
        const char *word = (*c)->name + length;
        size_t end = strcspn(word, " ");
        if (strncmp(last, word, end) != 0) fprintf(out, "%.*s ", (int)end, word);
        last = word;
    }
}

static void print_second_words(FILE *out)
{
    const char *last = "";
    for (const command *const *c = commands; *c; c++) {
        const char *space = strchr((*c)->name, ' ');
        if (!space) continue;
        text first = {.length = 0};
        append(&first, "%.*s", (int)(space - (*c)->name + 1), (*c)->name);
        if (strncmp(last, first.bytes, first.length) != 0) {
            fprintf(out, "    2,%.*s) options='", (int)first.length - 1, first.bytes);
            print_command_words(out, first.bytes);
            fputs("' ;;\n", out);
        }
        last = (*c)->name;
    }
}

void manual_print_bash_completion(FILE *out, const option_group *program)
{
    fputs("# bash completion for lvsa, made by: lvsa --completion bash\n"
          "_lvsa()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local options= values=\n"
          "    if [[ $cur == = ]]; then cur=\n"
          "    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    COMPREPLY=()\n"
          "    case \"${COMP_WORDS[*]:1:2}\" in\n",
          out);
    for (const command *const *c = commands; *c; c++) {
        fprintf(out, "    '%s'*)\n        options='", (*c)->name);
        print_option_words(out, (*c)->groups);
        fputs("'\n        case $prev in\n", out);
        print_choice_cases(out, "        ", (*c)->groups);
        fputs("        esac ;;\n", out);
    }
    fputs("    esac\n    case $COMP_CWORD,${COMP_WORDS[1]} in\n    1,*) options='", out);
    print_command_words(out, "");
    print_option_words(out, program);
    fputs("' ;;\n", out);
    print_second_words(out);
    print_choice_cases(out, "    2,", program);
    fputs("    *) [[ $values || $cur == -* ]] || return 0 ;;\n"
          "    esac\n"
          "    COMPREPLY=($(compgen -W \"${values:-$options}\" -- \"$cur\"))\n"
          "}\n"
          "complete -o default -F _lvsa lvsa\n",
          out);
}
