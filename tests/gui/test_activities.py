"""Work by purpose: replaced, cancelled, failed, and taken up again after the engine died."""

from __future__ import annotations

import pytest
from helpers_space import HandJobs

from mmviewer.engine.protocol import EngineStatus, ErrorReport, Ping, ProgressEvent
from mmviewer.gui.activities import IDLE, Activities, Activity

DIED = ErrorReport("EngineError", "The engine stopped; it is starting again.")
GONE, BACK = EngineStatus("gone"), EngineStatus("starting")


@pytest.fixture
def jobs(qapp) -> HandJobs:
    return HandJobs()


@pytest.fixture
def activities(jobs: HandJobs) -> Activities:
    return Activities(jobs)


def test_a_run_is_seen_from_start_to_end(jobs: HandJobs, activities: Activities):
    seen: list[tuple[str, Activity]] = []
    activities.changed.connect(lambda key, activity: seen.append((key, activity)))
    values: list[object] = []
    activities.run("maps", "Looking", Ping(), done=values.append)
    assert list(activities.running()) == ["maps"]
    jobs.asked[0].progress(ProgressEvent(1, 3, 12, "layer 3"))
    assert activities.get("maps").fraction == 0.25
    jobs.asked[0].done(7)
    assert values == [7]
    assert activities.get("maps") == IDLE
    assert [activity.running for _key, activity in seen] == [True, True, False]


def test_a_newer_run_silences_the_older(jobs: HandJobs, activities: Activities):
    values: list[object] = []
    activities.run("maps", "first", Ping(), done=values.append)
    activities.run("maps", "second", Ping(), done=values.append)
    jobs.asked[0].done("stale")
    assert values == []
    assert activities.get("maps").label == "second"
    jobs.asked[1].done("fresh")
    assert values == ["fresh"]


def test_a_cancelled_run_is_idle_and_no_error(jobs: HandJobs, activities: Activities):
    activities.run("maps", "Looking", Ping(), done=lambda _value: pytest.fail("called back"))
    activities.cancel("maps")
    assert jobs.asked[0].cancelled
    jobs.asked[0].done(1)
    assert activities.get("maps") == IDLE


def test_a_failure_stays_until_the_next_run(jobs: HandJobs, activities: Activities):
    error = ErrorReport("InputError", "No.")
    told: list[ErrorReport] = []
    activities.run("maps", "Looking", Ping(), done=lambda _value: None, failed=told.append)
    jobs.asked[0].failed(error)
    assert told == [error]
    assert activities.get("maps").error == error
    activities.run("maps", "Looking", Ping(), done=lambda _value: None)
    assert activities.get("maps").error is None


def test_what_the_engines_death_cut_off_runs_again_once(jobs: HandJobs, activities: Activities):
    values: list[object] = []
    told: list[ErrorReport] = []
    activities.run("maps", "Looking", Ping(), done=values.append, failed=told.append)
    jobs.status_changed.emit(GONE)
    jobs.asked[0].failed(DIED)
    assert told == []
    assert activities.get("maps").running
    jobs.status_changed.emit(BACK)
    activities.resume(lambda: None)
    assert jobs.count(Ping) == 2
    jobs.status_changed.emit(GONE)
    jobs.asked[1].failed(DIED)  # it kills the engine each time: not a third try
    assert told == [DIED]
    activities.resume(lambda: None)
    assert jobs.count(Ping) == 2
    assert values == []


def test_a_newer_run_replaces_the_one_that_waits_for_the_engine(jobs: HandJobs, activities: Activities):
    activities.run("maps", "old", Ping(), done=lambda _value: None)
    jobs.status_changed.emit(GONE)
    jobs.asked[0].failed(DIED)
    activities.run("maps", "new", Ping(), done=lambda _value: None)
    assert jobs.count(Ping) == 1  # there is no engine yet
    jobs.status_changed.emit(BACK)
    activities.resume(lambda: None)
    assert jobs.count(Ping) == 2
    assert activities.get("maps").label == "new"


def test_an_unexpected_error_of_a_living_engine_is_a_failure(jobs: HandJobs, activities: Activities):
    told: list[ErrorReport] = []
    activities.run("maps", "Looking", Ping(), done=lambda _value: None, failed=told.append)
    jobs.asked[0].failed(ErrorReport("EngineError", "Something went wrong inside the engine.", "trace"))
    assert len(told) == 1
    assert not activities.get("maps").running


def test_models_are_there_before_the_work_goes_on(jobs: HandJobs, activities: Activities):
    order: list[str] = []
    activities.run(
        "early", "handed over before the models", Ping(), done=lambda _value: order.append("early")
    )
    jobs.status_changed.emit(GONE)
    jobs.status_changed.emit(BACK)
    activities.resume(
        lambda: activities.run("reload", "Loading", Ping(), done=lambda _value: order.append("reload"))
    )
    assert jobs.asked[0].cancelled
    for asked in jobs.asked[1:]:
        asked.done(None)
    assert order == ["reload", "early"]


def test_what_waits_for_the_engine_can_be_cancelled(jobs: HandJobs, activities: Activities):
    jobs.status_changed.emit(GONE)
    activities.run("maps", "Looking", Ping(), done=lambda _value: None)
    assert activities.get("maps").running
    activities.cancel("maps")
    assert activities.get("maps") == IDLE
    jobs.status_changed.emit(BACK)
    activities.resume(lambda: None)
    assert jobs.asked == []
