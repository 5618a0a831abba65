// A quantizer to int8 with a scale for each row (scaling i8_row): a right one, and one that truncates.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace {

constexpr float kLargest = 127.0f;

float scale_of(const float *row, int64_t n) {
    float amax = 0.0f;
    for (int64_t j = 0; j < n; ++j) {
        if (std::isnan(row[j])) return row[j];
        amax = std::max(amax, std::fabs(row[j]));
    }
    const float scale = amax / kLargest;
    return scale == 0.0f ? 1.0f : scale;
}

int8_t code_of(float quotient, bool truncate) {
    if (std::isnan(quotient)) return 0;
    const float whole = truncate ? std::trunc(quotient) : std::nearbyint(quotient);
    return static_cast<int8_t>(std::clamp(whole, -kLargest, kLargest));
}

int quantize(const float *x, int8_t *codes, float *scale, int64_t rows, int64_t n, bool truncate) {
    for (int64_t i = 0; i < rows; ++i, x += n, codes += n) {
        scale[i] = scale_of(x, n);
        for (int64_t j = 0; j < n; ++j) codes[j] = code_of(x[j] / scale[i], truncate);
    }
    return 0;
}

}  // namespace

extern "C" int quantize_i8(const float *x, int8_t *codes, float *scale, int64_t rows, int64_t n) {
    return quantize(x, codes, scale, rows, n, false);
}

extern "C" int quantize_i8_truncated(const float *x, int8_t *codes, float *scale, int64_t rows, int64_t n) {
    return quantize(x, codes, scale, rows, n, true);
}
