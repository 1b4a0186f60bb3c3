/* splits.c: splits and marks that grow together. */
#include "flow/text/tokenizers/splits.h"

#include <string.h>

#include "base/mem.h"

lvsa_status lv_splits_begin(lv_splits *s, bool at_start)
{
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 16;
        lv_split *grown = lv_grow_array(s->list, s->room, room, sizeof *grown);
        if (!grown) return lv_fail(LVSA_ERR_MEMORY, "no memory for %zu words of text", room);
        s->list = grown;
        s->room = room;
    }
    s->list[s->count++] = (lv_split){s->text.length, 0, -1, at_start};
    return LVSA_OK;
}

void lv_splits_end(lv_splits *s)
{
    lv_split *last = &s->list[s->count - 1];
    last->length = s->text.length - last->offset;
    if (last->length == 0) s->count--;
}

lvsa_status lv_splits_add_token(lv_splits *s, int32_t id)
{
    LV_TRY(lv_splits_begin(s, false));
    s->list[s->count - 1].id = id;
    return LVSA_OK;
}

/* Room for the marks of the text's bytes. */
static lvsa_status extend_marks(lv_splits *s)
{
    if (s->text.length <= s->marks_room) return LVSA_OK;
    uint8_t *grown = lv_grow_array(s->marks, s->marks_room, s->text.room, 1);
    if (!grown) return lv_fail(LVSA_ERR_MEMORY, "no memory for %zu bytes of text", s->text.room);
    s->marks = grown;
    s->marks_room = s->text.room;
    return LVSA_OK;
}

lvsa_status lv_splits_append(lv_splits *s, const char *bytes, size_t length, uint8_t mark)
{
    size_t before = s->text.length;
    LV_TRY(lv_text_append(&s->text, bytes, length));
    LV_TRY(extend_marks(s));
    if (length) memset(s->marks + before, mark, length);
    return LVSA_OK;
}

lvsa_status lv_splits_append_code(lv_splits *s, uint32_t code, uint8_t mark)
{
    char bytes[4];
    return lv_splits_append(s, bytes, lv_utf8_encode(bytes, code), mark);
}

lvsa_status lv_splits_append_range(lv_splits *s, const lv_splits *from, size_t offset,
                                   size_t length)
{
    if (length == 0) return LVSA_OK;
    size_t before = s->text.length;
    LV_TRY(lv_text_append(&s->text, from->text.bytes + offset, length));
    LV_TRY(extend_marks(s));
    memcpy(s->marks + before, from->marks + offset, length);
    return LVSA_OK;
}

lvsa_status lv_splits_cut(lv_splits *s, const lv_splits *from, size_t offset, size_t length)
{
    if (length == 0) return LVSA_OK;
    LV_TRY(lv_splits_begin(s, from->marks[offset] != 0));
    LV_TRY(lv_splits_append_range(s, from, offset, length));
    lv_splits_end(s);
    return LVSA_OK;
}

lvsa_status lv_splits_set_text(lv_splits *s, const char *text, size_t length)
{
    uint32_t code;
    lv_splits_clear(s);
    size_t first = lv_utf8_decode(&code, text, length);
    LV_TRY(lv_splits_begin(s, true));
    LV_TRY(lv_splits_append(s, text, first, 1));
    if (length > first) LV_TRY(lv_splits_append(s, text + first, length - first, 0));
    lv_splits_end(s);
    return LVSA_OK;
}

void lv_splits_clear(lv_splits *s) { s->text.length = s->count = 0; }

void lv_splits_free(lv_splits *s)
{
    lv_text_free(&s->text);
    lv_free(s->marks);
    lv_free(s->list);
    *s = (lv_splits){0};
}

lvsa_status lv_splits_step(lv_splits *splits, lv_splits *spare, lv_split_step *step,
                           const void *what)
{
    lv_splits_clear(spare);
    for (size_t i = 0; i < splits->count; i++) {
        const lv_split *split = &splits->list[i];
        LV_TRY(split->id >= 0 ? lv_splits_add_token(spare, split->id)
                              : step(spare, splits, split, what));
    }
    lv_splits done = *spare;
    *spare = *splits;
    *splits = done;
    return LVSA_OK;
}
