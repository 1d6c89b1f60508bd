/* A stand-in for cuBLASLt on the host, with cublas.c in one library: as strict about its arguments,
   for products of float32 or float64 with a bias, and ReLU. */

#include "cublas.c"

typedef struct {
    int compute, scale, transposed[2], epilogue;
    const void *bias;
    int64_t bias_step;
} Operation;

typedef struct {
    int type;
    uint64_t rows, columns;
    int64_t pitch;
    int32_t count;
    int64_t step;
} Layout;

typedef struct {
    uint64_t workspace;
    uint32_t alignment[4];
} Wish;

typedef struct {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} Found;

/* Live descriptors, and what the tests ask for: no kernel (1: none is supported, 2: none is named,
   3: one that is named can't be used, 4: the question is refused), a status of the product, a ReLU
   that turns NaN into 0 in so many of the result's last columns, a bias that counts twice, and a
   stack whose matrices all have the first one's bias. */
int live_descriptors, none_found, failure, swallows_nan, doubles_bias, shares_bias;

static int made(void **out, size_t size)
{
    *out = calloc(1, size);
    live_descriptors++;
    return SUCCESS;
}

static int gone(void *descriptor)
{
    free(descriptor);
    live_descriptors--;
    return SUCCESS;
}

int cublasLtMatmulDescCreate(Operation **out, int compute, int scale)
{
    made((void **)out, sizeof(Operation));
    **out = (Operation){compute, scale, {0, 0}, 1, NULL, 0};
    return SUCCESS;
}

int cublasLtMatmulDescDestroy(Operation *o) { return gone(o); }

int cublasLtMatmulDescSetAttribute(Operation *o, int attribute, const void *value, size_t size)
{
    if (attribute == 8 || attribute == 10 ? size != 8 : size != 4)
        return INVALID_VALUE;
    if (attribute == 3 || attribute == 4)
        o->transposed[attribute - 3] = *(const int32_t *)value;
    else if (attribute == 7)
        o->epilogue = *(const int32_t *)value;
    else if (attribute == 8)
        o->bias = *(const void *const *)value;
    else if (attribute == 10)
        o->bias_step = *(const int64_t *)value;
    else
        return INVALID_VALUE;
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(Layout **out, int type, uint64_t rows, uint64_t columns,
                               int64_t pitch)
{
    made((void **)out, sizeof(Layout));
    **out = (Layout){type, rows, columns, pitch, 1, 0};
    return SUCCESS;
}

int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t size)
{
    if (attribute == 5 && size == 4)
        layout->count = *(const int32_t *)value;
    else if (attribute == 6 && size == 8)
        layout->step = *(const int64_t *)value;
    else
        return INVALID_VALUE;
    return SUCCESS;
}

int cublasLtMatrixLayoutDestroy(Layout *layout) { return gone(layout); }

int cublasLtMatmulPreferenceCreate(Wish **out)
{
    made((void **)out, sizeof(Wish));
    **out = (Wish){0, {256, 256, 256, 256}};
    return SUCCESS;
}

int cublasLtMatmulPreferenceDestroy(Wish *wish) { return gone(wish); }

int cublasLtMatmulPreferenceSetAttribute(Wish *wish, int attribute, const void *value, size_t size)
{
    if (attribute == 1 && size == 8)
        wish->workspace = *(const uint64_t *)value;
    else if (attribute >= 5 && attribute <= 8 && size == 4)
        wish->alignment[attribute - 5] = *(const uint32_t *)value;
    else
        return INVALID_VALUE;
    return SUCCESS;
}

static int fits(const Operation *o, const Layout *a, const Layout *b, const Layout *c,
                const Layout *d)
{
    uint64_t rows = o->transposed[0] ? a->columns : a->rows;
    uint64_t inner = o->transposed[0] ? a->rows : a->columns;
    uint64_t columns = o->transposed[1] ? b->rows : b->columns;
    uint64_t other = o->transposed[1] ? b->columns : b->rows;
    const Layout *all[] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if (all[i]->type != o->scale || all[i]->pitch < (int64_t)all[i]->rows ||
            !all[i]->columns || all[i]->count != d->count)
            return 0;
    int right = o->scale == FLOAT64 ? o->compute == 70 : o->compute == 68 || o->compute == 77;
    return right && inner == other && d->rows == rows && d->columns == columns &&
           c->rows == rows && c->columns == columns && (o->epilogue == 4 || o->epilogue == 6);
}

int cublasLtMatmulAlgoGetHeuristic(Handle *handle, Operation *o, Layout *a, Layout *b, Layout *c,
                                   Layout *d, Wish *wish, int wanted, Found *found, int *count)
{
    *count = 1;  /* on failure it means nothing */
    if (handle == NULL || wanted != 1 || !fits(o, a, b, c, d) || o->bias == NULL)
        return INVALID_VALUE;
    if (none_found == 1 || none_found == 4)
        return none_found == 1 ? NOT_SUPPORTED : INVALID_VALUE;
    *count = none_found != 2;
    memset(found, 0, sizeof *found);
    found->state = none_found == 3 ? NOT_SUPPORTED : SUCCESS;
    found->algorithm[7] = 7;
    for (int i = 0; i < 4; i++)
        found->algorithm[i] = wish->alignment[i];
    found->algorithm[4] = found->workspace = wish->workspace;
    return SUCCESS;
}

int cublasLtMatmul(Handle *handle, Operation *o, const void *alpha, const void *a, Layout *la,
                   const void *b, Layout *lb, const void *beta, const void *c, Layout *lc, void *d,
                   Layout *ld, const uint64_t *algorithm, void *workspace, size_t size,
                   void *stream)
{
    if (failure)
        return failure;
    if (handle == NULL || handle->stream != stream || workspace != handle->workspace)
        return NOT_INITIALIZED;
    if (!fits(o, la, lb, lc, ld) || algorithm[7] != 7 || size != (32u << 20) ||
        algorithm[4] > size || c != d)
        return INVALID_VALUE;
    const void *pointers[] = {a, b, c, d};
    const Layout *layouts[] = {la, lb, lc, ld};
    size_t item = ld->type == FLOAT64 ? 8 : 4;
    for (int i = 0; i < 4; i++)
        if (((size_t)pointers[i] | (size_t)layouts[i]->step * item) % algorithm[i])
            return INVALID_VALUE;
    int compute = o->compute, status = cublasGemmStridedBatchedEx(
        handle, o->transposed[0], o->transposed[1], ld->rows, ld->columns,
        o->transposed[0] ? la->rows : la->columns, alpha, a, la->type, la->pitch, la->step, b,
        lb->type, lb->pitch, lb->step, beta, d, ld->type, ld->pitch, ld->step, ld->count, compute,
        -1);
    if (status)
        return status;
    for (uint64_t k = 0; k < ld->columns * ld->count; k++)
        for (uint64_t i = 0; i < ld->rows; i++) {
            uint64_t j = k % ld->columns, member = k / ld->columns;
            size_t p = i + j * ld->pitch + member * ld->step;
            size_t q = i + (shares_bias ? 0 : member * o->bias_step);
            double x = element(d, ld->type, p) + (1 + doubles_bias) * element(o->bias, ld->type, q);
            int swallowed = j + swallows_nan >= ld->columns && x != x;
            if (o->epilogue == 6 && (x < 0 || swallowed))
                x = 0;
            if (ld->type == FLOAT64)
                ((double *)d)[p] = x;
            else
                ((float *)d)[p] = x;
        }
    return SUCCESS;
}
