"""The exceptions that lastbit raises for bad input: each message says the value, the rule and the remedy."""


class LastbitError(Exception):
    """Something given to lastbit cannot be used as it stands."""


class UsageError(LastbitError):
    """An option, name or argument is wrong; the command exits with status 2."""


class KernelError(LastbitError):
    """A kernel's declaration is inconsistent, or two kernels share a name."""


class GoldenError(LastbitError):
    """A golden or budgets file cannot be used as it stands."""


class RecordError(LastbitError):
    """A stored run cannot be read as it stands."""


class ReportError(LastbitError):
    """A report cannot be written where it was asked for."""


class BundleError(LastbitError):
    """A file is no submission bundle, or a run cannot be made one."""
