// Attention, a cache's append, a cast, a scaled product and a GEMM's epilogue in lastbit's own convention (docs/native.md).

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#define ARRAY(type, name) \
    type *name, int64_t name##_rank, const int64_t *name##_shape, const int64_t *name##_strides
#define TEXT char *, int64_t

namespace {

int64_t at(const int64_t *strides, int64_t i, int64_t j, int64_t k, int64_t l) {
    return i * strides[0] + j * strides[1] + k * strides[2] + l * strides[3];
}

}  // namespace

// Bottom-right causal and windowed attention with grouped queries and its log-sum-exp; logits and sums in f64.
extern "C" int attention(ARRAY(const float, q), ARRAY(const float, k), ARRAY(const float, v), ARRAY(float, out),
                         ARRAY(float, lse), double scale, double causal, double left, double right, double softcap,
                         TEXT) {
    const int64_t heads = q_shape[1], rows = q_shape[2], keys = k_shape[2], depth = q_shape[3], width = v_shape[3];
    const int64_t group = heads / k_shape[1];
    if (std::isnan(scale)) scale = 1.0 / std::sqrt(static_cast<double>(depth));
    std::vector<double> logits(keys);
    for (int64_t b = 0; b < q_shape[0]; ++b)
        for (int64_t h = 0; h < heads; ++h)
            for (int64_t i = 0; i < rows; ++i) {
                const int64_t place = i + keys - rows;
                double top = -std::numeric_limits<double>::infinity();
                std::vector<int64_t> kept;
                for (int64_t j = 0; j < keys; ++j) {
                    if (causal != 0.0 && j > place) continue;
                    if (left >= 0.0 && j < place - left) continue;
                    if (right >= 0.0 && j > place + right) continue;
                    double x = 0.0;
                    for (int64_t c = 0; c < depth; ++c)
                        x += static_cast<double>(q[at(q_strides, b, h, i, c)]) * k[at(k_strides, b, h / group, j, c)];
                    x *= scale;
                    if (softcap != 0.0) x = softcap * std::tanh(x / softcap);
                    logits[j] = x;
                    kept.push_back(j);
                    if (x > top || std::isnan(x)) top = x;
                }
                double sum = 0.0;
                std::vector<double> rest(width, 0.0);
                for (int64_t j : kept) {
                    const double weight = std::exp(logits[j] - top);
                    sum += weight;
                    for (int64_t c = 0; c < width; ++c)
                        if (weight != 0.0) rest[c] += weight * v[at(v_strides, b, h / group, j, c)];
                }
                const bool empty = kept.empty() || top == -std::numeric_limits<double>::infinity();
                for (int64_t c = 0; c < width; ++c)
                    out[at(out_strides, b, h, i, c)] = empty ? 0.0f : static_cast<float>(rest[c] / sum);
                lse[b * lse_strides[0] + h * lse_strides[1] + i * lse_strides[2]] =
                    empty ? -std::numeric_limits<float>::infinity() : static_cast<float>(top + std::log(sum));
            }
    return 0;
}

extern "C" int kv_append(ARRAY(const float, k), ARRAY(const float, v), ARRAY(float, k_cache), ARRAY(float, v_cache),
                         ARRAY(const int32_t, slots), TEXT) {
    const int64_t block = k_cache_shape[1];
    for (int64_t t = 0; t < slots_shape[0]; ++t) {
        const int64_t slot = slots[t * slots_strides[0]];
        if (slot < 0) continue;
        for (int64_t h = 0; h < k_shape[1]; ++h) {
            for (int64_t c = 0; c < k_shape[2]; ++c)
                k_cache[at(k_cache_strides, slot / block, slot % block, h, c)] =
                    k[t * k_strides[0] + h * k_strides[1] + c * k_strides[2]];
            for (int64_t c = 0; c < v_shape[2]; ++c)
                v_cache[at(v_cache_strides, slot / block, slot % block, h, c)] =
                    v[t * v_strides[0] + h * v_strides[1] + c * v_strides[2]];
        }
    }
    return 0;
}

// f32 to bf16, nearest even; any packed array.
extern "C" int cast_packed(const float *x, uint16_t *out, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
        out[i] = static_cast<uint16_t>(nan ? (bits >> 16) | 0x40u : (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
    }
    return 0;
}

// int8 times f32 rows of a plain operand: a has scales, b has none (a null pointer).
extern "C" int scaled_gemm(ARRAY(const int8_t, a), ARRAY(const int8_t, b), ARRAY(const float, scale_a),
                           ARRAY(const float, scale_b), ARRAY(float, out), TEXT) {
    for (int64_t i = 0; i < a_shape[0]; ++i)
        for (int64_t j = 0; j < b_shape[1]; ++j) {
            int32_t sum = 0;
            for (int64_t p = 0; p < a_shape[1]; ++p)
                sum += static_cast<int32_t>(a[i * a_strides[0] + p * a_strides[1]]) *
                       b[p * b_strides[0] + j * b_strides[1]];
            const float left = scale_a_rank == 2 ? scale_a[i * scale_a_strides[0]] : *scale_a;
            const float right = scale_b_rank == 2 ? scale_b[j * scale_b_strides[1]] : *scale_b;
            out[i * out_strides[0] + j * out_strides[1]] = static_cast<float>(sum) * left * right;
        }
    return 0;
}

// alpha a b + beta c + bias; beta 0 does not read c.
extern "C" int epilogue(ARRAY(const float, a), ARRAY(const float, b), ARRAY(const float, c), ARRAY(const float, bias),
                        ARRAY(float, out), double alpha, double beta, TEXT) {
    for (int64_t i = 0; i < out_shape[0]; ++i)
        for (int64_t j = 0; j < out_shape[1]; ++j) {
            double sum = 0.0;
            for (int64_t p = 0; p < a_shape[1]; ++p)
                sum += static_cast<double>(a[i * a_strides[0] + p * a_strides[1]]) *
                       b[p * b_strides[0] + j * b_strides[1]];
            sum *= alpha;
            if (c != nullptr && beta != 0.0) sum += beta * c[i * c_strides[0] + j * c_strides[1]];
            if (bias != nullptr) sum += bias[j * bias_strides[0]];
            out[i * out_strides[0] + j * out_strides[1]] = static_cast<float>(sum);
        }
    return 0;
}
