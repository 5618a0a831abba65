"""A comparison of two runs as part of an HTML page."""

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from lastbit.reports import compare_story
from lastbit.reports.compare_runs import Comparison
from lastbit.reports.html import rendered
from lastbit.reports.summary import clean

#: Rows of a section's table; the rest is counted.
SHOWN = 100


def html(comparison: Comparison, sides: Sequence[str]) -> Markup:
    """What differs, as safe HTML without a heading: sentence, warnings, sections that unfold, environment.

    `sides` say which runs A and B are (`compare_story.side`).
    """
    return rendered(
        "compare.html",
        sentence=compare_story.sentence(comparison),
        sides=[(name, clean(side)) for name, side in zip("AB", sides, strict=True)],
        warnings=[clean(warning) for warning in comparison.warnings],
        sections=compare_story.sections(comparison),
        differences=[
            replace(one, name=clean(one.name), a=clean(one.a), b=clean(one.b)) for one in comparison.differences
        ],
        remarks=[clean(remark) for remark in compare_story.remarks(comparison)],
        shown=SHOWN,
    )
