"""The cases that kernels of each op are timed on: of a size that takes a while, and that the law can still prove."""

#: "CHECK CASE" by op; each check makes one call of its kernel.
CASES: dict[str, tuple[str, ...]] = {
    "gemm": ("bound normal/m128-n128-k256", "bound normal/m1-n256-k512"),
    "scaled_gemm": ("bound normal/m64-n128-k256",),
    "softmax": ("bound normal/m64-n1024",),
    "log_softmax": ("bound normal/m64-n1024",),
    "logsumexp": ("bound normal/m64-n1024",),
    "attention": ("bound sharp/batch1-hq4-hkv4-lq64-lk128-d64-dv64",),
    "paged_attention": ("bound normal/b4-hq4-hkv2-lq1-d64-dv64-block16-len256/pages=shuffled",),
    "kv_append": ("exact normal/tokens64-hkv4-d64-dv64-block16-pages16/slots=shuffled",),
    "quantize": ("exact normal/m128-n1024",),
    "dequantize": ("exact random_codes/m128-n1024",),
    "cast": ("structure mixed/m256-n1024",),
}
