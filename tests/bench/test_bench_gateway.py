"""The parts of the gateway benchmark that decide, and the judge of answers against a real upstream."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from bench.gateway.build import build
from bench.gateway.measure import Answers, LoadResult, ProcessTimes, Quantiles, Sample, cpu_seconds, family, parse_stat
from bench.gateway.measure import run_load as run_generator
from bench.gateway.processes import BenchError, Cores, pick_cores, running, wait_ready
from bench.gateway.report import Spread, account_line, machine, ratio, render, spread
from bench.gateway.rounds import Account, Outcome
from bench.gateway.scenarios import SCENARIOS, Scenario
from bench.gateway.targets import Usage

STAT = (
    "4242 (odd (name) x) S 17 4242 4242 0 -1 4194304 1203 88 0 0 150 50 30 20 20 0 4 0 91234 12345678 900 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0"
)


def test_stat_line_is_read_though_the_name_holds_brackets_and_blanks():
    assert parse_stat(STAT) == ProcessTimes(pid=4242, parent=17, own=2.0, reaped=0.5)


def test_family_is_the_root_and_its_descendants_in_any_order():
    tree = {5: 4, 4: 2, 2: 1, 3: 1, 9: 8, 1: 0}
    processes = [ProcessTimes(pid, parent, own=0, reaped=0) for pid, parent in tree.items()]
    assert {process.pid for process in family(2, processes)} == {2, 4, 5}
    assert family(77, processes) == []


def test_cpu_of_an_ended_child_counts_for_its_parent():
    before = cpu_seconds(os.getpid())
    code = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cpu_seconds(os.getpid()) - before >= 0.09


def test_cpu_of_a_process_is_finer_than_a_tick():
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.003
    while time.process_time() < end:
        pass
    assert 0.003 <= cpu_seconds(os.getpid()) - before < 0.5


def test_spread_is_median_and_range():
    assert spread([3.0, 1.0, 2.0, 10.0, 2.5]) == Spread(median=2.5, low=1.0, high=10.0)


@pytest.mark.parametrize(
    ("subject", "other", "text"),
    [(0.024, 0.010, "2.4x"), (0.5, 60.0, "1/120"), (0.5, 0.6, "1/1.2"), (1.0, 1.0, "1.0x"), (1.0, 0.0, "-")],
)
def test_ratio_reads_as_a_multiple_or_as_a_fraction(subject: float, other: float, text: str):
    assert ratio(subject, other) == text


def test_machine_line_names_the_processor_and_warns_of_one_core():
    cpuinfo = "processor\t: 0\nmodel name\t: Abacus 3000\nprocessor\t: 1\nmodel name\t: Abacus 3000\n"
    line = machine(cpuinfo, Cores(0, 1), 0.26)
    assert "Abacus 3000" in line
    assert "load average before the run 0.3; server on core 0, upstream and load on core 1" in line
    assert "ONE CORE ONLY" in machine(cpuinfo, Cores(0, 0), 0.0)


def test_cores_are_those_asked_for_or_the_first_two():
    allowed = sorted(os.sched_getaffinity(0))
    assert pick_cores([]) == Cores(allowed[0], allowed[min(1, len(allowed) - 1)])
    assert pick_cores([allowed[0], allowed[0]]).shared
    with pytest.raises(BenchError, match="cannot be used here"):
        pick_cores([allowed[0], 9999])


def _answers(ok: int, p50: float, *, bad: int = 0) -> Answers:
    quantiles = Quantiles(p50=p50, p90=p50, p99=2 * p50, max=3 * p50)
    return Answers(port=1, ok=ok, bad=bad, fault="there is no usage" if bad else "", latency_us=quantiles,
                   first_byte_us=quantiles)  # fmt: skip


def _sample(target: str, number: int, cpu: float, *, bad: int = 0, unfinished: int = 0) -> Sample:
    load = LoadResult(1.0, 0, unfinished, [_answers(100, 300.0 + number, bad=bad), _answers(100, 50.0)])
    return Sample(target, "rate50", number, cpu, load)


def _outcome(**faults: int) -> Outcome:
    surplus = [_sample("surplus", number, cpu) for number, cpu in enumerate((0.02, 0.06, 0.04))]
    nginx = [_sample("nginx", number, 0.01, **faults) for number in range(3)]
    return Outcome(samples=[*surplus, *nginx], versions={"surplus": "surplus 1", "nginx": "nginx 2"})


def test_report_shows_median_range_ratio_and_added_latency():
    text = render(_outcome(), "a machine", rounds=3)
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert text.startswith("a machine\nsurplus 1\nnginx 2\n")
    assert "JSON at 50 requests a second 0.400 (0.200-0.600) 0.100 (0.100-0.100)" in lines
    assert "JSON at 50 requests a second 4.0x" in lines
    assert "p50 JSON at 50 requests a second 251 (250-252) 251 (250-252) 50 (50-50)" in lines
    assert "p99 JSON at 50 requests a second 502 (500-504) 502 (500-504) 100 (100-100)" in lines
    assert "nginx: 300 good answers, 0 errors" in lines


def test_report_shows_when_paced_streams_begin():
    load = LoadResult(1.0, 0, 0, [_answers(100, 12_340.0)])
    outcome = Outcome(samples=[Sample("nginx", "paced128", 0, 0.1, load)], versions={"nginx": "nginx 2"})
    assert "12.3 (12.3-12.3)" in render(outcome, "a machine", rounds=1)


def test_report_without_surplus_has_no_ratios():
    outcome = _outcome()
    outcome.samples = [sample for sample in outcome.samples if sample.target == "nginx"]
    outcome.versions = {"nginx": "nginx 2"}
    assert "against" not in render(outcome, "a machine", rounds=3)


@pytest.mark.parametrize(("faults", "errors"), [({"bad": 2}, 6), ({"unfinished": 1}, 3)])
def test_bad_and_unfinished_answers_fail_the_run(faults: dict[str, int], errors: int):
    assert _outcome().good
    outcome = _outcome(**faults)
    assert not outcome.good
    assert f"nginx: 300 good answers, {errors} errors" in render(outcome, "a machine", rounds=3)


def test_errors_of_the_warm_up_fail_the_run():
    outcome = _outcome()
    outcome.warm_up_errors = 1
    assert not outcome.good
    assert "1 errors while warming up" in render(outcome, "a machine", rounds=3)


def test_an_account_that_differs_fails_the_run_and_says_so():
    usage = Usage(requests=10, input_tokens=2120, output_tokens=1280)
    right = Account("surplus", usage, usage)
    assert "accounted 10 of 10 requests" in account_line(right)
    assert "WRONG" not in account_line(right)
    wrong = Account("surplus", usage, Usage(requests=10, input_tokens=2120, output_tokens=1281))
    assert account_line(wrong).endswith("1281 of 1280 output tokens: WRONG")
    outcome = _outcome()
    outcome.accounts = [right]
    assert outcome.good
    outcome.accounts = [right, wrong]
    assert not outcome.good


def test_a_server_that_ends_before_it_is_ready_is_reported_with_its_last_words(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", "print('the disk is full'); raise SystemExit(3)"]
    core = min(os.sched_getaffinity(0))
    with running(command, core=core, log=log) as process, pytest.raises(BenchError, match=r"status 3[^$]*disk is full"):
        wait_ready("it", process, "http://127.0.0.1:9/", log, seconds=20)


@dataclass(frozen=True)
class _OtherTokens(Scenario):
    @property
    def output_tokens(self) -> int:
        return 7


@dataclass(frozen=True)
class _UsageNotAskedFor(Scenario):
    def body(self) -> bytes:
        return super().body().replace(b'"include_usage":true', b'"include_usage":false')


@pytest.fixture(scope="module")
def upstream_port():
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    with subprocess.Popen([build("upstream")], stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline().split()[1])
        process.terminate()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_upstream_answers_every_scenario_well(upstream_port: int, scenario: Scenario):
    result = run_generator(build("load"), scenario, ports=[upstream_port], key="k", seconds=20, requests=8)
    assert (result.targets[0].ok, result.targets[0].bad, result.unfinished) == (8, 0, 0)


@pytest.mark.parametrize("chunks", [0, 8])
def test_a_usage_with_other_tokens_is_a_bad_answer(upstream_port: int, chunks: int):
    scenario = _OtherTokens("lie", "lie", chunks=chunks)
    result = run_generator(build("load"), scenario, ports=[upstream_port], key="k", seconds=20, requests=3)
    assert (result.targets[0].ok, result.targets[0].bad) == (0, 3)
    assert result.targets[0].fault == "the usage says another number of tokens"


def test_a_stream_without_usage_is_a_bad_answer(upstream_port: int):
    scenario = _UsageNotAskedFor("silent", "silent", chunks=8)
    result = run_generator(build("load"), scenario, ports=[upstream_port], key="k", seconds=20, requests=3)
    assert (result.targets[0].ok, result.targets[0].fault) == (0, "there is no usage")


def test_an_open_loop_asks_both_ports_at_the_rate(upstream_port: int):
    scenario = Scenario("open", "open", connections=2, rate=100)
    result = run_generator(build("load"), scenario, ports=[upstream_port, upstream_port], key="k", seconds=0.2)
    assert [answers.ok for answers in result.targets] == [20, 20]
