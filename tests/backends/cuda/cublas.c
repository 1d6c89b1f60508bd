/* A stand-in for cuBLAS on the host: as strict about its arguments, for products of float32, of
   float64, and of bfloat16 with a float32 result. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void *stream, *workspace;
    size_t size;
} Handle;

enum { SUCCESS, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };

int live_handles;

int cublasCreate_v2(Handle **handle)
{
    *handle = calloc(1, sizeof(Handle));
    live_handles++;
    return SUCCESS;
}

int cublasDestroy_v2(Handle *handle)
{
    free(handle);
    live_handles--;
    return SUCCESS;
}

int cublasSetStream_v2(Handle *handle, void *stream)
{
    handle->stream = stream;
    handle->workspace = NULL; /* as cuBLAS has it */
    return SUCCESS;
}

int cublasSetWorkspace_v2(Handle *handle, void *workspace, size_t size)
{
    if ((size_t)workspace % 256)
        return INVALID_VALUE;
    handle->workspace = workspace;
    handle->size = size;
    return SUCCESS;
}

static int largest(int a, int b) { return a > b ? a : b; }

enum { FLOAT32 = 0, FLOAT64 = 1, BFLOAT16 = 14 };

static double element(const void *x, int type, size_t i)
{
    if (type == FLOAT64)
        return ((const double *)x)[i];
    if (type == FLOAT32)
        return ((const float *)x)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int cublasGemmStridedBatchedEx(Handle *handle, int transa, int transb, int m, int n, int k,
                               const void *alpha, const void *a, int atype, int lda,
                               long long stride_a, const void *b, int btype, int ldb,
                               long long stride_b, const void *beta, void *c, int ctype, int ldc,
                               long long stride_c, int count, int compute, int algorithm)
{
    if (handle == NULL || handle->workspace == NULL || handle->size != (32u << 20))
        return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || transa < 0 || transa > 1 || transb < 0 || transb > 1)
        return INVALID_VALUE;
    if (lda < largest(1, transa ? k : m) || ldb < largest(1, transb ? n : k) ||
        ldc < largest(1, m))
        return INVALID_VALUE;
    if (atype != btype || algorithm != -1)
        return NOT_SUPPORTED;
    if (ctype != (atype == BFLOAT16 ? FLOAT32 : atype) || ctype > FLOAT64)
        return NOT_SUPPORTED;
    if (ctype == FLOAT64 ? compute != 70 : compute != 68 && (compute != 77 || atype != FLOAT32))
        return NOT_SUPPORTED;
    if (element(alpha, ctype, 0) != 1.0 || element(beta, ctype, 0) != 0.0)
        return INVALID_VALUE;
    for (long long s = 0; s < count; s++)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int l = 0; l < k; l++) {
                    size_t pa = s * stride_a + (transa ? l + (size_t)i * lda : i + (size_t)l * lda);
                    size_t pb = s * stride_b + (transb ? j + (size_t)l * ldb : l + (size_t)j * ldb);
                    sum += element(a, atype, pa) * element(b, btype, pb);
                }
                size_t pc = s * stride_c + i + (size_t)j * ldc;
                if (ctype == FLOAT64)
                    ((double *)c)[pc] = sum;
                else
                    ((float *)c)[pc] = sum;
            }
    return SUCCESS;
}

int cublasGemmEx(Handle *handle, int transa, int transb, int m, int n, int k, const void *alpha,
                 const void *a, int atype, int lda, const void *b, int btype, int ldb,
                 const void *beta, void *c, int ctype, int ldc, int compute, int algorithm)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, atype, lda, 0, b,
                                      btype, ldb, 0, beta, c, ctype, ldc, 0, 1, compute, algorithm);
}
