/* rows.h: a picture whose rows are dealt to ranks, so that each convolves its own.
 *
 *     [1, above + n * count + below, X, C]     of a picture of n times the coarsest one's height
 *
 * above and below are 1 where another rank has the rows beyond, otherwise 0: a kernel of 3 rows
 * sees one of them. What is computed for these two rows is wrong and isn't used; before a
 * convolution looks at them, they come from the ranks that own them. */
#ifndef LV_ENGINE_PARALLEL_ROWS_H
#define LV_ENGINE_PARALLEL_ROWS_H

#include "engine/parallel/comm.h"
#include "engine/runtime/ops.h"

typedef struct lv_rows {
    lv_comm *comm;
    int64_t first, count, all; /* of the coarsest picture: this rank's, and how many there are */
    int64_t above, below;
    size_t *bytes; /* [ranks] of an all-gather                                     */
} lv_rows;

/* Can so many ranks have a row each? If not, LVSA_ERR_ARGUMENT. */
lvsa_status lv_rows_check(const lv_comm *comm, int64_t rows);

/* Deals `rows` of them; comm is borrowed. Fails as lv_rows_check(), or with LVSA_ERR_MEMORY; *out
 * is then NULL. The other functions, but for the last, take NULL too: all rows are here. */
lvsa_status lv_rows_create(lv_rows **out, lv_comm *comm, int64_t rows);
void lv_rows_free(lv_rows **rows);

/* Rows that a picture has here and that are others'. */
static inline int64_t lv_rows_beyond(const lv_rows *r) { return r ? r->above + r->below : 0; }

/* The own rows of a picture [1, Y, X, C]. */
lv_tensor lv_rows_own(const lv_rows *r, lv_tensor picture);

/* The rows beyond, from the ranks beside this one. */
lvsa_status lv_rows_look(const lv_rows *r, lv_exec *e, lv_tensor picture);

/* all [points, C] of the coarsest picture from own [own points, C] of each rank. */
lvsa_status lv_rows_gather(const lv_rows *r, lv_exec *e, lv_tensor all, lv_tensor own);

#endif
