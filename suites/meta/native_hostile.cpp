// Functions that attack whoever calls them: (a, b, out, m, n, k) of f32, a status of int.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

void multiply(const float *a, const float *b, float *out, int64_t m, int64_t n, int64_t k) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0.0f;
            for (int64_t p = 0; p < k; ++p) sum += a[i * k + p] * b[p * n + j];
            out[i * n + j] = sum;
        }
}

}  // namespace

#define OPERANDS const float *a, const float *b, float *out, int64_t m, int64_t n, int64_t k

extern "C" int honest(OPERANDS) { multiply(a, b, out, m, n, k); return 0; }

extern "C" int segfaults(OPERANDS) {
    multiply(a, b, out, m, n, k);
    volatile float *nowhere = reinterpret_cast<volatile float *>(m);
    return static_cast<int>(*nowhere);
}

extern "C" int aborts(OPERANDS) { multiply(a, b, out, m, n, k); std::abort(); }

extern "C" int throws(OPERANDS) { multiply(a, b, out, m, n, k); throw 7; }

extern "C" int leaves(OPERANDS) { multiply(a, b, out, m, n, k); _Exit(0); }

extern "C" int hangs(OPERANDS) {
    multiply(a, b, out, m, n, k);
    for (volatile bool forever = true; forever;) {}
    return 0;
}

extern "C" int overruns(OPERANDS) { multiply(a, b, out, m, n, k); out[m * n] = 1.0f; return 0; }

extern "C" int underruns(OPERANDS) { multiply(a, b, out, m, n, k); out[-1] = 1.0f; return 0; }

extern "C" int stops_short(OPERANDS) {
    if (m > 0) multiply(a, b, out, m - 1, n, k);
    return 0;
}

extern "C" int changes_operand(OPERANDS) {
    multiply(a, b, out, m, n, k);
    const_cast<float *>(a)[0] += 1.0f;
    return 0;
}

extern "C" int adds_to_out(OPERANDS) {
    for (int64_t i = 0; i < m * n; ++i) out[i] *= 0.0f;
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j)
            for (int64_t p = 0; p < k; ++p) out[i * n + j] += a[i * k + p] * b[p * n + j];
    return 0;
}

extern "C" int refuses(OPERANDS) { return 1; }

extern "C" int fails(OPERANDS, char *message, int64_t capacity) {
    multiply(a, b, out, m, n, k);
    std::snprintf(message, capacity, "workspace of %d bytes is too small", 12);
    return 7;
}

extern "C" int quantize_overruns(const float *x, int8_t *codes, float *scale, int64_t rows, int64_t n) {
    std::memset(codes, 0, rows * n);
    for (int64_t i = 0; i <= rows; ++i) scale[i] = 1.0f;
    return 0;
}

extern "C" int quantize_forgets(const float *x, int8_t *codes, float *scale, int64_t rows, int64_t n) {
    std::memset(codes, 0, rows * n);
    return 0;
}
