"""The GEMM check at sizes where tiles, splits and threads come into play: proved whole, or in sampled tiles and by checksum."""

from dataclasses import replace

import numpy as np

from lastbit.case import Trial
from lastbit.harness import Obtained
from lastbit.references.data import Operand
from lastbit.suites.gemm_trial import Given, inputs, judge_unique, judge_within, obtain
from lastbit.verdict import Verdict


def large(trial: Trial) -> Verdict:
    given = inputs(trial)
    got = obtain(trial, given)
    return judge_within(trial, given, got) if trial.case.recipe == "normal" else judge_unique(trial, given, got)
