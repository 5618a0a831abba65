// Softmax over packed rows: a right one, and one that forgets to subtract the maximum.

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

void divide(const double *exponentials, double sum, float *out, int64_t n) {
    for (int64_t j = 0; j < n; ++j) out[j] = static_cast<float>(exponentials[j] / sum);
}

constexpr int64_t kLongest = 1 << 16;

int rows_of(const float *x, float *out, int64_t rows, int64_t n, bool subtract) {
    if (n > kLongest) return 1;
    static thread_local double exponentials[kLongest];
    for (int64_t i = 0; i < rows; ++i, x += n, out += n) {
        float top = -std::numeric_limits<float>::infinity();
        for (int64_t j = 0; j < n; ++j) top = x[j] > top || std::isnan(x[j]) ? x[j] : top;
        double sum = 0.0;
        for (int64_t j = 0; j < n; ++j) {
            exponentials[j] = subtract ? std::exp(static_cast<double>(x[j]) - top) : std::exp(x[j]);
            sum += exponentials[j];
        }
        divide(exponentials, sum, out, n);
    }
    return 0;
}

}  // namespace

extern "C" int softmax_rows(const float *x, float *out, int64_t rows, int64_t n) {
    return rows_of(x, out, rows, n, true);
}

extern "C" int softmax_raw(const float *x, float *out, int64_t rows, int64_t n) {
    return rows_of(x, out, rows, n, false);
}
