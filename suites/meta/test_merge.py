"""Merging runs: order and repetition change no byte, what is missing is told, what contradicts is refused."""

import random
from collections import Counter
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import Kernel, session
from lastbit.case import Case, Check, Trial
from lastbit.choices import Options, selection
from lastbit.cli import main
from lastbit.errors import GoldenError, RecordError
from lastbit.golden.adopt import CI_VARIABLES, accept, diff
from lastbit.reports import merge as merging
from lastbit.reports import merge_parts
from lastbit.reports.compare_runs import compare
from lastbit.reports.merge import content, merge, write
from lastbit.reports.run import NAME, Footer, Header, Part, Run, RunWriter, read
from lastbit.verdict import Outcome, Record, Verdict

from .record_examples import SLUG, STATS, environment, record, store_run

OTHER = "cpu-x86_64-avx2-intel_xeon-f6m85"
GPU = "cuda-sm90-h100-132"


def run(
    *records: Record, shard: str = "", end: bool = True, started: str = "2026-11-25T10:00:00", **env: object
) -> Run:
    """A run in memory."""
    header = Header(environment(**env), started=started, options={"shard": shard} if shard else {})
    footer = Footer("2026-11-25T11:00:00", len(records)) if end else None
    return Run(header, records, end, footer)


def bytes_of(*runs: Run) -> bytes:
    return content(merge({str(number): one for number, one in enumerate(runs)}).run)


def merged(*runs: Run) -> Run:
    return merge({str(number): one for number, one in enumerate(runs)}).run


ONES = [record(case=f"gauss/m{i}-n3-k4", digest=f"{i:016x}") for i in range(12)]
ENVIRONMENTS: list[dict[str, object]] = [
    {},
    {"devices": {"cpu": OTHER}, "cpu": "Intel Xeon"},
    {"devices": {"cpu": OTHER, "cuda": GPU}, "gpus": ("H100",), "cpu": "Intel Xeon"},
]


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """Up to five runs of three machines, that agree where they overlap."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        env = draw(st.sampled_from(ENVIRONMENTS))
        devices: dict[str, str] = env.get("devices", {"cpu": SLUG})  # type: ignore[assignment]
        chosen = draw(st.lists(st.sampled_from(ONES), max_size=6, unique_by=lambda one: one.case))
        own = tuple(
            replace(one, device=draw(st.sampled_from(sorted(devices))), seconds=draw(st.floats(0, 9))) for one in chosen
        )
        started = f"2026-11-25T10:00:0{draw(st.integers(0, 9))}"
        made.append(
            run(*own, shard=draw(st.sampled_from(["", "1/3", "2/3"])), end=draw(st.booleans()), started=started, **env)
        )
    return made


@given(runs(), st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_merge_is_order_free_and_idempotent(some: list[Run], order: random.Random) -> None:
    whole = bytes_of(*some)
    shuffled = order.sample(some, len(some))
    assert bytes_of(*shuffled) == whole
    assert bytes_of(*some, *shuffled) == whole
    assert bytes_of(merged(*some)) == whole
    assert bytes_of(merged(*some), some[0]) == whole
    assert content(reduce(merged, shuffled[1:], merged(shuffled[0]))) == whole


@given(runs())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_merged_run_is_read_back_as_it_is(tmp_path_factory: pytest.TempPathFactory, some: list[Run]) -> None:
    made = merged(*some)
    back = read(write(made, tmp_path_factory.mktemp("merged")))
    assert (back.header, back.records, back.complete, back.footer) == (
        made.header,
        made.records,
        made.complete,
        made.footer,
    )


def judged(folder: Path, part: int, parts: int) -> Run:
    """A shard of a session that judges two tiny kernels by a tiny law, stored and read back."""
    cases = tuple(Case("normal", (("m", m), ("n", 3), ("k", 4))) for m in range(1, 7))

    def obey(trial: Trial) -> Verdict:
        return Verdict(Outcome.PASS, stats=STATS, digest=trial.case.id)

    def applies(trial: Trial) -> str:
        return "an odd number of rows" if int(dict(trial.case.sizes)["m"]) % 2 else ""

    law = (
        Check("bound", "gemm", cases, obey, lambda _: "", "says yes"),
        Check("odd", "gemm", cases, obey, applies, ""),
    )
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    kernels = [Kernel(f"mine/{name}", "gemm", obey, formats, framework="numpy", devices=("cpu",)) for name in "ab"]
    kernels.append(Kernel("mine/gpu", "gemm", obey, formats, framework="numpy", devices=("cuda",)))
    options = Options(shard=(part, parts))
    plan = session.select(kernels, options, law=lambda _: law)
    writer = RunWriter(folder, Header(environment(), options=selection(options)))
    for one in (*plan.untested, *(session.judge(check, trial) for check, trial in plan.choices)):
        writer.write(one)
    writer.close()
    return read(folder)


@pytest.mark.parametrize("parts", range(1, 8))
def test_union_of_shards_is_the_whole(parts: int, tmp_path: Path) -> None:
    whole = judged(tmp_path / "whole", 1, 1)
    shards = {str(i): judged(tmp_path / str(i), i, parts) for i in range(1, parts + 1)}
    found = merge(shards)
    same = [replace(one, seconds=0.0) for one in found.run.records]
    assert same == sorted((replace(one, seconds=0.0) for one in whole.records), key=lambda one: one.key)
    assert Counter(one.outcome for one in same) == {Outcome.PASS: 18, Outcome.NOT_TESTED: 6, Outcome.UNSUPPORTED: 1}
    assert found.run.complete
    assert not found.lacks
    assert found.run.header.options == {}
    assert compare(whole, found.run).changes == ()
    for gone in list(shards) if parts > 1 else ():
        left = merge({name: shard for name, shard in shards.items() if name != gone})
        assert not left.run.complete
        assert left.lacks == (
            f"shard {gone}/{parts} is missing on {SLUG}: run with --lastbit-shard, and merge that, too",
        )
        assert left.run.header.options["shard"] == " ".join(f"{i}/{parts}" for i in shards if i != gone)


def test_shards_of_two_machines_are_not_one_set() -> None:
    found = merge({"a": run(shard="1/2"), "b": run(shard="2/2", devices={"cpu": OTHER})})
    assert [text.partition(":")[0] for text in found.lacks] == [
        f"shard 1/2 is missing on {OTHER}",
        f"shard 2/2 is missing on {SLUG}",
    ]


def test_many_missing_shards_are_counted() -> None:
    (text,) = merge({"a": run(shard="3/999999999")}).lacks
    assert text.startswith("shards 1/999999999, 2/999999999, 4/999999999")
    assert "and 999999990 more are missing" in text


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "x/y", "1/2/3", "-1/2", "1/99999999999999999999"])
def test_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(RecordError, match="expected I/N"):
        merge({"a": run(shard=shard)})


def test_run_that_was_killed_keeps_the_merged_one_incomplete_until_another_try_has_ended(tmp_path: Path) -> None:
    killed = run(ONES[1], shard="1/2", end=False)
    found = merge({"a": run(ONES[0], shard="2/2"), "b": killed})
    assert not found.run.complete
    assert found.lacks == (
        f"shard 1/2 on {SLUG} of {killed.header.started} did not come to its end: run it again, and merge that one",
    )
    assert not read(write(found.run, tmp_path)).complete
    other = merge({"m": found.run, "c": run(ONES[2], shard="2/2", started="2026-11-25T12:00:00")})
    assert not other.run.complete
    again = merge({"m": found.run, "b": run(ONES[1], shard="1/2", started="2026-11-25T12:00:00")})
    assert again.run.complete


def test_run_that_lost_records_is_told() -> None:
    lost = replace(run(ONES[0]), footer=Footer("2026-11-25T11:00:00", 1, lost=3), complete=False)
    found = merge({"a": lost})
    assert "could not write 3 records" in found.lacks[0]
    assert not found.run.complete


def test_another_try_stands_for_a_run_that_lost_records_and_not_the_other_way_round() -> None:
    lost = replace(run(ONES[0]), footer=Footer("2026-11-25T11:00:00", 1, lost=3), complete=False)
    assert merged(lost, run(ONES[0], ONES[1], started="2026-11-25T12:00:00")).complete
    still = merge({"a": lost, "b": run(ONES[0], started="2026-11-25T12:00:00", end=False)})
    assert len(still.lacks) == 2


def test_order_of_packages_makes_no_other_part() -> None:
    packages = {"lastbit": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"}
    one, other = (run(ONES[0], packages=dict(some)) for some in (packages.items(), reversed(packages.items())))
    assert bytes_of(one) == bytes_of(other) == bytes_of(one, other)
    assert len(merged(one, other).header.parts) == 1


def test_notes_of_parts_are_kept_and_a_shard_says_nothing_of_findings_that_are_gone() -> None:
    footer = Footer("2026-11-25T11:00:00", 1, notes=("no kernels from jax: not installed",), gone=("F9 is gone",))
    whole, first, second, far = (
        replace(one, footer=footer)
        for one in (run(ONES[0]), run(ONES[0], shard="1/2"), run(shard="2/2"), run(ONES[0], devices={"cpu": OTHER}))
    )
    assert merged(first, second).notes == footer.notes
    assert merged(first, second).gone == ()
    assert merged(whole).gone == ("F9 is gone",)
    assert merged(whole, far).notes == tuple(f"{slug}: {footer.notes[0]}" for slug in (OTHER, SLUG))


def test_bytes_after_the_end_make_a_part_unfinished() -> None:
    assert not merged(replace(run(ONES[0]), torn=5, complete=False)).complete


def test_torn_last_line_is_left_out_and_told(tmp_path: Path) -> None:
    store_run(tmp_path / "a", ONES[0], ONES[1], end=False)
    file = tmp_path / "a" / NAME
    file.write_bytes(file.read_bytes()[:-20])
    found = merge({"a": read(file)})
    assert [one.case for one in found.run.records] == [ONES[0].case]
    assert len(found.lacks) == 1


def test_line_that_is_there_twice_is_refused_in_a_whole_run_and_kept_once_of_a_killed_one(tmp_path: Path) -> None:
    file = store_run(tmp_path, ONES[0]) / NAME
    head, line, end = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(head + line + line + end)
    with pytest.raises(RecordError, match="the end says 1 records, there are 2"):
        read(file)
    file.write_bytes(head + line + line)
    assert merged(read(file)).records == (ONES[0],)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"digest": "f" * 16}, "digest 0000000000000000 in a, digest ffffffffffffffff in b"),
        ({"outcome": Outcome.OVER_BUDGET}, "pass in a, over_budget in b"),
    ],
)
def test_contradicting_records_are_refused_by_name(changed: dict[str, object], said: str) -> None:
    other = replace(ONES[0], **changed)  # type: ignore[arg-type]
    for pair in ({"a": run(ONES[0]), "b": run(other)}, {"b": run(other), "a": run(ONES[0])}):
        with pytest.raises(RecordError) as error:
            merge(pair)
        assert said in str(error.value)
        assert ONES[0].key in str(error.value)
    there = merged(run(ONES[0]), run(other, devices={"cpu": OTHER}))
    assert len(there.records) == 2


def test_digest_of_one_run_is_held_against_a_third() -> None:
    """A record without a digest agrees with both, and must not hide that they contradict each other."""
    without = replace(ONES[0], digest="", seconds=0.0)
    first = merged(run(without), run(replace(ONES[0], seconds=9.0)))
    assert first.records[0].digest == ONES[0].digest
    with pytest.raises(RecordError, match="contradict"):
        merge({"m": first, "c": run(replace(ONES[0], digest="f" * 16))})


def test_many_conflicts_are_counted() -> None:
    others = [replace(one, digest="f" * 16) for one in ONES * 3]
    many = [replace(one, case=f"{one.case}/{i}") for i, one in enumerate(others)]
    with pytest.raises(RecordError) as error:
        merge({"a": run(*many), "b": run(*(replace(one, digest="e" * 16) for one in many))})
    assert str(error.value).count("\n") == merging.SHOWN + 1
    assert f"… and {len(many) - merging.SHOWN} more" in str(error.value)


@pytest.mark.parametrize(
    ("env", "header", "said"),
    [
        ({"packages": {"lastbit": "0.2.0"}}, {}, "lastbit is 0.1.0 in a, 0.2.0 in b, expected one"),
        ({"packages": {"lastbit": "0.1.0", "torch": "2.14.0"}}, {}, f"software on {SLUG} is "),
        ({"commit": "fffffff"}, {}, f"commit on {SLUG} is abc1234 in a, fffffff in b"),
        ({"dirty": True}, {}, "abc1234 (dirty) in b"),
        ({"threads": {"OMP_NUM_THREADS": "8"}}, {}, "threads on"),
        ({"switches": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}, {}, "none in a, ONEDNN_MAX_CPU_ISA=AVX2 in b"),
        ({}, {"tier": "full"}, "tier is smoke in a, full in b"),
        ({}, {"seed": 7}, "seed is 0 in a, 7 in b"),
    ],
)
def test_runs_that_are_not_one_are_refused_with_the_remedy(
    env: dict[str, object], header: dict[str, object], said: str
) -> None:
    other = run(ONES[1], **env)
    other = replace(other, header=replace(other.header, **header))  # type: ignore[arg-type]
    with pytest.raises(RecordError) as error:
        merge({"a": run(ONES[0]), "b": other})
    assert said in str(error.value)
    assert "lastbit compare A B" in str(error.value)


def test_software_may_differ_between_machines_and_is_told() -> None:
    torch = {"lastbit": "0.1.0", "torch": "2.13.0+cu130"}
    found = merged(run(ONES[0]), run(replace(ONES[0], device="cuda"), devices={"cuda": GPU}, packages=torch))
    assert found.header.environment.packages["torch"] == "2.13.0, 2.13.0+cu130"
    assert found.header.environment.devices == {"cpu": SLUG, "cuda": GPU}
    assert {part.environment.packages["torch"] for part in found.header.parts} == {"2.13.0", "2.13.0+cu130"}


def test_device_name_of_two_machines_gets_the_fingerprint() -> None:
    found = merged(run(ONES[0]), run(ONES[0], devices={"cpu": OTHER}))
    names = ["cpu@avx2-intel_xeon-f6m85", "cpu@avx512bf16-amd_epyc-f26m2"]
    assert [one.device for one in found.records] == names
    assert found.header.environment.devices == dict(zip(names, (OTHER, SLUG), strict=True))


def test_device_names_hold_what_tells_machines_apart_and_no_two_are_alike() -> None:
    slugs = [GPU, "cuda-sm90-h100-114", "cuda-unknown", "a-b", "a-b-"]
    for some in (slugs[:2], slugs[:3], slugs):
        found = merge_parts.device_names([Part(environment(devices={"cuda": slug})) for slug in some])
        assert len(set(found.values())) == len(some)
    assert set(merge_parts.device_names([Part(environment(devices={"cuda": one})) for one in slugs[:2]]).values()) == {
        "cuda@132",
        "cuda@114",
    }


def test_kernel_without_a_device_here_is_judged_on_the_machine_that_has_it() -> None:
    nowhere = record(kernel="mine/gpu", check="*", case="*", device="cuda", outcome=Outcome.UNSUPPORTED, stats=None)
    there = record(kernel="mine/gpu", device="cuda")
    assert merged(run(nowhere)).records == (nowhere,)
    assert merged(run(nowhere), run(there, devices={"cuda": GPU})).records == (there,)


def test_hostile_names_survive_merging_and_are_harmless_in_errors() -> None:
    nasty = replace(ONES[0], kernel="a\x1b[31m<script>`|\u202e" + "x" * 10_000, device="cpu@evil", digest="0" * 16)
    once = merged(run(nasty, devices={"cpu@evil": SLUG}))
    assert once.records == (nasty,)
    assert content(merged(once)) == content(once)
    with pytest.raises(RecordError) as error:
        merge({"a": once, "b": run(replace(nasty, digest="f" * 16), devices={"cpu@evil": SLUG})})
    assert "\x1b" not in str(error.value)
    assert "\u202e" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_statuses_of_parts_are_the_worst(tmp_path: Path) -> None:
    def ended(status: int, *records: Record, shard: str) -> Run:
        return replace(run(*records, shard=shard), footer=Footer("2026-11-25T11:00:00", len(records), status))

    nothing = ended(2, record(case="z", outcome=Outcome.NOT_TESTED), shard="1/2")
    assert merged(nothing, ended(0, ONES[0], shard="2/2")).footer.exitstatus == 0  # type: ignore[union-attr]
    assert merged(nothing, ended(1, ONES[0], shard="2/2")).footer.exitstatus == 1  # type: ignore[union-attr]
    assert merged(replace(nothing, header=Header(environment()))).footer.exitstatus == 2  # type: ignore[union-attr]


def test_earlier_run_of_the_folder_is_kept_and_the_same_one_left(tmp_path: Path) -> None:
    store_run(tmp_path, ONES[0])
    made = merged(read(tmp_path))
    write(made, tmp_path)
    assert read(tmp_path / "run.previous.jsonl").records == (ONES[0],)
    (tmp_path / "run.previous.jsonl").unlink()
    write(made, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_folder_that_cannot_be_written_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_run(tmp_path, ONES[0])
    before = (tmp_path / NAME).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(merged(read(tmp_path)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {NAME: before}


def stored(folder: Path, one: Run) -> str:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(content(one))
    return str(folder)


def test_command_merges_tells_what_is_missing_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (stored(tmp_path / str(i), run(ONES[i], shard=f"{i}/2")) for i in (1, 2))
    into = str(tmp_path / "all")
    assert main(["merge", first, "--into", into]) == 1
    assert f"not whole: shard 2/2 is missing on {SLUG}" in capsys.readouterr().err
    assert main(["merge", into, second, "--into", into]) == 0
    out = capsys.readouterr().out
    assert "2 records of 2 parts from 1 kind of machine" in out
    assert main(["report", into]) == 0
    before = (tmp_path / "all" / NAME).read_bytes()
    bad = stored(tmp_path / "bad", run(replace(ONES[1], digest="f" * 16)))
    assert main(["merge", into, bad, "--into", into]) == 2
    assert "contradict" in capsys.readouterr().err
    assert (tmp_path / "all" / NAME).read_bytes() == before


def test_golden_takes_a_merged_run_of_one_kind_of_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    same = stored(tmp_path / "same", merged(run(ONES[0], shard="1/2"), run(ONES[1], shard="2/2")))
    assert accept(same, tmp_path / "golden", "mine/*", "seen")[-1].startswith("2 adopted")
    half = stored(tmp_path / "half", merged(run(ONES[0], shard="1/2")))
    with pytest.raises(GoldenError, match="did not come to its end"):
        accept(half, tmp_path / "golden", "mine/*", "seen")
    mixed = stored(tmp_path / "mixed", merged(run(ONES[0]), run(ONES[0], devices={"cpu": OTHER})))
    for use in (lambda: accept(mixed, tmp_path / "golden", "mine/*", "seen"), lambda: diff(mixed, tmp_path / "golden")):
        with pytest.raises(GoldenError, match="merged of 2 kinds of machine"):
            use()
