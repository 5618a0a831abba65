// A tiled product of f32 matrices in CUDA C++, called on PyTorch's current stream; sums in f32, masks its tails.

#include <cstdint>
#include <cuda_runtime.h>

namespace {

constexpr int kTile = 16;

__global__ void multiply(const float *a, int64_t lda, const float *b, int64_t ldb, float *out, int64_t ldo, int64_t m,
                         int64_t n, int64_t depth) {
    __shared__ float a_tile[kTile][kTile];
    __shared__ float b_tile[kTile][kTile];
    const int64_t row = static_cast<int64_t>(blockIdx.y) * kTile + threadIdx.y;
    const int64_t column = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
    float sum = 0.0f;
    for (int64_t start = 0; start < depth; start += kTile) {
        const int64_t inner_a = start + threadIdx.x;
        const int64_t inner_b = start + threadIdx.y;
        a_tile[threadIdx.y][threadIdx.x] = row < m && inner_a < depth ? a[row * lda + inner_a] : 0.0f;
        b_tile[threadIdx.y][threadIdx.x] = inner_b < depth && column < n ? b[inner_b * ldb + column] : 0.0f;
        __syncthreads();
        // Products of the tail are left out, not multiplied as zeros: an infinity times 0 would be a NaN.
        for (int p = 0; p < kTile && start + p < depth; ++p) sum += a_tile[threadIdx.y][p] * b_tile[p][threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) out[row * ldo + column] = sum;
}

}  // namespace

// Status: 0, or a cudaError_t. No element, no launch: a grid of size 0 is an error in CUDA.
extern "C" int gemm_f32_cuda(const float *a, int64_t lda, const float *b, int64_t ldb, float *out, int64_t ldo,
                             int64_t m, int64_t n, int64_t depth, cudaStream_t stream) {
    if (m == 0 || n == 0) return 0;
    const dim3 threads(kTile, kTile);
    const dim3 blocks(static_cast<unsigned>((n + kTile - 1) / kTile), static_cast<unsigned>((m + kTile - 1) / kTile));
    multiply<<<blocks, threads, 0, stream>>>(a, lda, b, ldb, out, ldo, m, n, depth);
    return static_cast<int>(cudaGetLastError());
}
