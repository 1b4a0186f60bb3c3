/* table.h: what lv_weights is, for the files of this folder. */
#ifndef LV_ENGINE_WEIGHTS_TABLE_H
#define LV_ENGINE_WEIGHTS_TABLE_H

#include "engine/weights/weights.h"

typedef struct lv_weight_row {
    const lv_tensor_entry *entry;
    const lv_safetensors *file;
    bool asked; /* somebody wanted it */
} lv_weight_row;

struct lv_weights {
    char *path;             /* the index or the only file */
    lv_safetensors **files; /* [file_count] */
    size_t file_count;
    lv_weight_row *rows; /* [row_count], in the order of names */
    size_t row_count;
};

/* NULL when no file has a tensor of that name. */
lv_weight_row *lv_weights_find_row(const lv_weights *w, const char *name);

#endif
