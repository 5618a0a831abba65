"""The plot of what quantized formats lose: signal to noise by scaling, a panel for each family of tensors."""

from collections.abc import Sequence
from pathlib import Path

from lastbit.errors import UsageError
from lastbit.references.quality import Quality

#: Panels side by side.
ACROSS = 3
#: Kinds of elements by how their name begins, with the colour of their points.
KINDS = (
    ("fp8", "#0072B2"),
    ("mx", "#D55E00"),
    ("nv", "#009E73"),
    ("nf", "#CC79A7"),
    ("i", "#000000"),
    ("gguf", "#E69F00"),
)


def plot(rows: Sequence[Quality], path: Path) -> None:
    """Draw `rows` (references.quality.compare) to `path`, in the format of its suffix: .svg, .png or .pdf.

    Raises UsageError where matplotlib is not installed or cannot write that suffix.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("a plot needs matplotlib: pip install 'lastbit[report]'") from error
    families = list(dict.fromkeys(row.family for row in rows))
    names = {row.scaling: f"{row.scaling} ({row.bits:.3g})" for row in sorted(rows, key=lambda row: row.bits)}
    down = -(-len(families) // ACROSS)
    figure = Figure(figsize=(4.5 * ACROSS, 0.5 + 0.22 * len(names) * down), layout="constrained")
    figure.suptitle("signal to quantization noise in dB, by scaling (bits a number) and family of tensors")
    panels = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).flat
    for axes, family in zip(panels, families, strict=False):
        axes.set(title=family.replace("_", " "))
        axes.grid(alpha=0.3)
        found = {row.scaling: row.sqnr_db for row in rows if row.family == family}
        for place, (scaling, label) in enumerate(names.items()):
            axes.plot(found[scaling], place, "o", color=colour(scaling), label=label)
        axes.set_yticks(range(len(names)), list(names.values()), fontsize=8)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise UsageError(f"a plot cannot be written to {path}: {error}") from error


def colour(scaling: str) -> str:
    """The colour of a scaling's kind."""
    return next(colour for start, colour in KINDS if scaling.startswith(start))
