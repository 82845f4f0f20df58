"""Energy above the idle machine, per token, evaluation and solved task. Unknown values are not numbers."""

from swarmeval.scores.energy import between, energy


def test_energy_above_idle_is_per_token_evaluation_and_solved_task() -> None:
    counts = [(2, 1), (2, 0), (4, 4), (0, 0)]
    assert energy({"nvml": 900.0, "rapl": 300.0}, {"nvml": 50.0, "rapl": 10.0}, 10.0, 1200, 8, counts) == {
        "joules": 1200.0,
        "watched_s": 10.0,
        "idle_w": 60.0,
        "joules_above_idle": 600.0,
        "joules_per_output_token": 0.5,
        "joules_per_evaluation": 75.0,
        "joules_per_solved_task": 300.0,
        "source": "nvml+rapl",
    }


def test_energy_per_computed_token_is_stated_if_their_number_is_known() -> None:
    found = energy({"rapl": 600.0}, {"rapl": 0.0}, 10.0, 1200, 8, [(2, 2)], computed_tokens=300)
    assert found is not None
    assert (found["joules_per_output_token"], found["joules_per_computed_token"]) == (0.5, 2.0)


def test_energy_that_is_not_known_is_none() -> None:
    assert energy({}, {"nvml": 1.0}, 1.0, 1, 1, [(1, 1)]) is None
    found = energy({"nvml": 9.0, "rapl": 1.0}, {"nvml": 1.0}, 1.0, 1, 1, [(1, 1)])
    assert found is not None
    assert (found["joules"], found["idle_w"], found["joules_above_idle"]) == (10.0, None, None)
    assert found["joules_per_output_token"] is None
    found = energy({"rapl": 9.0}, {"rapl": 1.0}, 1.0, 0, 0, [(2, 0)])
    assert found is not None
    assert [found[f"joules_per_{what}"] for what in ("output_token", "evaluation", "solved_task")] == [None] * 3


def test_part_of_a_run_took_what_lies_between_two_readings_above_idle() -> None:
    before, after = ({"rapl": 100.0, "nvml": 50.0}, 10.0), ({"rapl": 300.0, "nvml": 250.0}, 20.0)
    assert between(before, after, {"rapl": 5.0, "nvml": 10.0}) == (200 - 50) + (200 - 100)
    assert between(before, after, {"rapl": 5.0}) is None  # idle power is not known for both counters
    assert between(({}, 0.0), after, {"rapl": 5.0, "nvml": 10.0}) is None
    assert between(before, ({"rapl": 300.0}, 20.0), {"rapl": 5.0, "nvml": 10.0}) == 150
