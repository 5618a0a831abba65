// Products of matrices for lastbit's own convention (docs/native.md): two right ones, and one whose tail is off by one.

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

constexpr int kUnsupported = 1;
constexpr int64_t kTile = 8;

// An array as the convention passes it: the address of its first element, and rank, sizes and strides in elements.
template <typename T>
struct Matrix {
    T *data;
    const int64_t *shape;
    const int64_t *strides;
    T &at(int64_t row, int64_t column) const { return data[row * strides[0] + column * strides[1]]; }
};

float widen(float x) { return x; }

float widen(uint16_t bf16) {
    uint32_t bits = static_cast<uint32_t>(bf16) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

template <typename T>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<float> out, int64_t depth) {
    for (int64_t i = 0; i < out.shape[0]; ++i)
        for (int64_t j = 0; j < out.shape[1]; ++j) {
            float sum = 0.0f;
            for (int64_t k = 0; k < depth; ++k) sum += widen(a.at(i, k)) * widen(b.at(k, j));
            out.at(i, j) = sum;
        }
}

}  // namespace

extern "C" int gemm_f32(const float *a, int64_t a_rank, const int64_t *a_shape, const int64_t *a_strides,
                        const float *b, int64_t b_rank, const int64_t *b_shape, const int64_t *b_strides,
                        float *out, int64_t out_rank, const int64_t *out_shape, const int64_t *out_strides,
                        char *message, int64_t capacity) {
    if (a_rank != 2 || b_rank != 2 || out_rank != 2) {
        std::snprintf(message, capacity, "gemm_f32 multiplies matrices, not batches of them");
        return kUnsupported;
    }
    multiply<float>({a, a_shape, a_strides}, {b, b_shape, b_strides}, {out, out_shape, out_strides}, a_shape[1]);
    return 0;
}

extern "C" int gemm_bf16(const uint16_t *a, int64_t, const int64_t *a_shape, const int64_t *a_strides,
                         const uint16_t *b, int64_t, const int64_t *b_shape, const int64_t *b_strides,
                         float *out, int64_t, const int64_t *out_shape, const int64_t *out_strides,
                         char *, int64_t) {
    multiply<uint16_t>({a, a_shape, a_strides}, {b, b_shape, b_strides}, {out, out_shape, out_strides}, a_shape[1]);
    return 0;
}

// Sums whole tiles of K and then a tail, which ends one product early.
extern "C" int gemm_tail(const float *a, int64_t, const int64_t *a_shape, const int64_t *a_strides,
                         const float *b, int64_t, const int64_t *b_shape, const int64_t *b_strides,
                         float *out, int64_t, const int64_t *out_shape, const int64_t *out_strides,
                         char *, int64_t) {
    int64_t depth = a_shape[1];
    if (depth % kTile != 0) depth -= 1;
    multiply<float>({a, a_shape, a_strides}, {b, b_shape, b_strides}, {out, out_shape, out_strides}, depth);
    return 0;
}

// The argument order of an existing function: packed rows but for their leading dimensions, and no status.
extern "C" void sgemm_rows(int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                           float *out, int ldo) {
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            float sum = 0.0f;
            for (int p = 0; p < k; ++p) sum += a[i * lda + p] * b[p * ldb + j];
            out[i * ldo + j] = alpha * sum;
        }
}
