"""The jobs' port over its backends: the twin, processes of this machine, and Kubernetes."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.contract.jobs import Backend
from tests.twins.jobs import TwinJobs
from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError
from tools.jobs.port import MIB, Jobs, JobState, Phase, Progress, Reason, Resources, job_name
from tools.leftovers import Leftover


@pytest.fixture
def backend(job_backend: Backend) -> Backend:
    return job_backend


async def ended(backend: Backend, name: str) -> JobState:
    async with asyncio.timeout(backend.patience_s + 10):
        states = [state async for state in backend.jobs.watch(name)]
    assert [state.final for state in states] == [False] * (len(states) - 1) + [True]
    return states[-1]


async def until(backend: Backend, name: str, phase: Phase) -> JobState:
    async with asyncio.timeout(backend.patience_s):
        async for state in backend.jobs.watch(name):
            if state.phase is phase:
                return state
    raise AssertionError(f"it ended without having been {phase}")


async def lines(backend: Backend, name: str, **options: object) -> list[str]:
    async with asyncio.timeout(backend.patience_s):
        return [line async for line in backend.jobs.logs(name, **options)]


async def test_it_is_a_backend_of_jobs_and_answers(backend: Backend) -> None:
    assert isinstance(backend.jobs, Jobs)
    await backend.jobs.ping()


async def test_a_job_runs_to_its_end(backend: Backend) -> None:
    key = backend.key()
    submitted = await backend.jobs.submit(key, backend.spec("succeeds"))
    assert submitted.name == job_name(key)
    state = await ended(backend, submitted.name)
    assert (state.phase, state.reason, state.exit_code, state.attempts) == (Phase.SUCCEEDED, None, 0, 1)
    assert (state.model, state.team, state.run_id) == ("flights", "search", "run-1")
    assert state.started_at is not None
    assert state.ended_at is not None
    assert state.ended_at >= state.started_at
    assert await backend.jobs.state(submitted.name) == state
    assert await lines(backend, submitted.name) == ["one", "two", "three"]
    assert await lines(backend, submitted.name, tail=1) == ["three"]


async def test_an_exit_code_is_told(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("exits 3"))).name)
    assert (state.phase, state.reason, state.exit_code) == (Phase.FAILED, Reason.EXIT_CODE, 3)
    assert await lines(backend, state.name) == ["no"]


async def test_a_signal_is_an_exit_code_beyond_128(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("dies of 9"))).name)
    assert (state.phase, state.reason, state.exit_code) == (Phase.FAILED, Reason.EXIT_CODE, 137)


async def test_too_much_memory_is_not_just_a_signal(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("hogs memory"))).name)
    assert (state.phase, state.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)


async def test_a_deadline_ends_it(backend: Backend) -> None:
    spec = backend.spec("waits", deadline=timedelta(seconds=2))
    state = await ended(backend, (await backend.jobs.submit(backend.key(), spec)).name)
    assert (state.phase, state.reason) == (Phase.FAILED, Reason.DEADLINE)


async def test_what_no_machine_has_is_unschedulable(backend: Backend) -> None:
    wanted = Resources(cpu=900, memory_bytes=48 * MIB)
    spec = backend.spec("succeeds", resources=wanted, deadline=timedelta(seconds=2))
    state = await ended(backend, (await backend.jobs.submit(backend.key(), spec)).name)
    assert (state.phase, state.reason, state.attempts) == (Phase.FAILED, Reason.UNSCHEDULABLE, 0)


@pytest.mark.parametrize("behaviour", ["waits", "is stubborn"])
async def test_it_ends_when_it_is_cancelled(backend: Backend, behaviour: str) -> None:
    name = (await backend.jobs.submit(backend.key(), backend.spec(behaviour))).name
    await until(backend, name, Phase.RUNNING)
    await backend.jobs.cancel(name, reason="budget is spent")
    state = await ended(backend, name)
    assert (state.phase, state.reason, state.detail) == (Phase.FAILED, Reason.CANCELLED, "budget is spent")
    assert state.attempts == 1
    assert await backend.jobs.cancel(name, reason="again") == state


async def test_what_has_ended_is_not_cancelled(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("succeeds"))).name)
    assert await backend.jobs.cancel(state.name, reason="too late") == state


async def test_a_key_is_one_job(backend: Backend) -> None:
    key, spec = backend.key(), backend.spec("succeeds")
    several = await asyncio.gather(*(backend.jobs.submit(key, spec) for _ in range(4)))
    assert {state.name for state in several} == {job_name(key)}
    state = await ended(backend, job_name(key))
    assert state.attempts == 1
    assert await backend.jobs.submit(key, spec) == state
    assert await lines(backend, state.name) == ["one", "two", "three"]


async def test_a_key_that_comes_back_with_another_spec_is_a_conflict(backend: Backend) -> None:
    key = backend.key()
    await backend.jobs.submit(key, backend.spec("succeeds"))
    with pytest.raises(Conflict, match="another spec"):
        await backend.jobs.submit(key, backend.spec("succeeds", team="ads"))


async def test_a_job_without_a_key_is_refused(backend: Backend) -> None:
    with pytest.raises(PermanentError, match="key"):
        await backend.jobs.submit(" ", backend.spec("succeeds"))


async def test_jobs_are_listed_newest_first_and_by_model(backend: Backend) -> None:
    models = ("a-listed", backend.key("b c"), "a-listed")
    names = [(await backend.jobs.submit(backend.key(model), backend.spec("waits", model=model))).name for model in models]
    listed = await backend.jobs.jobs()
    assert [state.submitted_at for state in listed] == sorted((state.submitted_at for state in listed), reverse=True)
    assert set(names) <= {state.name for state in listed}
    other = next(state for state in listed if state.name == names[1])
    assert [state.name for state in await backend.jobs.jobs(model=other.model)] == [names[1]]
    for name in names:
        await backend.jobs.cancel(name, reason="the test is over")


async def test_a_job_that_nobody_knows_is_an_error(backend: Backend) -> None:
    for call in (
        backend.jobs.state("oppen-none"),
        backend.jobs.usage("oppen-none"),
        backend.jobs.cancel("oppen-none", reason=""),
    ):
        with pytest.raises(PermanentError, match="oppen-none"):
            await call
    with pytest.raises(PermanentError, match="oppen-none"):
        await lines(backend, "oppen-none")


async def test_it_finds_its_files(backend: Backend) -> None:
    spec = backend.spec("shows its file", config={"train.yaml": "epochs: 3\nrate: $HOME $(OPPEN_JOB)\n"})
    state = await ended(backend, (await backend.jobs.submit(backend.key(), spec)).name)
    assert await lines(backend, state.name) == ["epochs: 3", "rate: $HOME $(OPPEN_JOB)"]


async def test_its_environment_is_what_the_spec_gives(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.kind == "twin":
        pytest.skip("the twin runs nothing")
    monkeypatch.setenv("OPPEN_ADMIN_TOKEN", "hush")
    spec = backend.spec("says its environment", environment={"TRACKING": "http://mlflow:5000/$(HOME)$$x"})
    state = await ended(backend, (await backend.jobs.submit(backend.key(), spec)).name)
    found = dict(line.partition("=")[::2] for line in await lines(backend, state.name))
    assert found["TRACKING"] == "http://mlflow:5000/$(HOME)$$x"
    assert found["OPPEN_JOB"] == state.name
    known = {"PATH", "HOME", "TMPDIR", "LANG", "PWD", "SHLVL", "_", "HOSTNAME", "CUDA_VISIBLE_DEVICES", "OLDPWD", "TRACKING"}
    unknown = {name for name in found if not name.startswith(("OPPEN_JOB", "KUBERNETES_"))} - known
    assert not unknown
    assert "hush" not in str(found)


async def test_it_tells_how_far_it_is(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("tells progress"))).name)
    assert state.progress == Progress(fraction=0.5, text="b", eta_seconds=9)


async def test_a_log_is_followed_to_the_end(backend: Backend) -> None:
    name = (await backend.jobs.submit(backend.key(), backend.spec("speaks slowly"))).name
    assert await lines(backend, name, follow=True) == ["a", "b", "c"]


async def test_following_can_be_left(backend: Backend) -> None:
    name = (await backend.jobs.submit(backend.key(), backend.spec("waits"))).name
    async with asyncio.timeout(backend.patience_s):
        async for line in backend.jobs.logs(name, follow=True):
            assert line == "waiting"
            break
    assert (await backend.jobs.cancel(name, reason="seen")).name == name


async def test_what_failed_is_tried_again_where_it_was(backend: Backend) -> None:
    if not backend.lasting:
        pytest.skip("no claim for checkpoints (OPPEN_TEST_CLAIM)")
    spec = backend.spec("resumes", retries=1)
    state = await ended(backend, (await backend.jobs.submit(backend.key(), spec)).name)
    assert (state.phase, state.attempts) == (Phase.SUCCEEDED, 2)
    assert await lines(backend, state.name) == ["resumed"]


async def test_what_it_started_ends_with_it(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("leaves strays"))).name)
    assert state.phase is Phase.SUCCEEDED
    assert await lines(backend, state.name) == ["done"]


async def test_what_it_used_is_known(backend: Backend) -> None:
    state = await ended(backend, (await backend.jobs.submit(backend.key(), backend.spec("speaks slowly"))).name)
    used = await backend.jobs.usage(state.name)
    assert used.gpu_seconds == 0
    assert used.reserved == backend.spec("speaks slowly").resources
    if backend.kind != "twin":
        assert 0 <= used.wall_seconds < backend.patience_s
    if backend.kind == "local":
        assert used.wall_seconds > 0.5
        assert used.cpu_seconds is not None
        assert used.peak_memory_bytes


async def test_after_a_while_it_is_forgotten(backend: Backend) -> None:
    key, spec = backend.key(), backend.spec("succeeds", keep=timedelta(seconds=1))
    name = (await backend.jobs.submit(key, spec)).name
    async with asyncio.timeout(backend.patience_s):
        while True:
            try:
                await backend.jobs.state(name)
            except PermanentError:
                break
            await asyncio.sleep(0.1)
    again = await backend.jobs.submit(key, backend.spec("waits"))
    assert not again.final
    await backend.jobs.cancel(name, reason="the test is over")


async def test_how_trainings_are_bought_is_changed_once_per_key_where_there_is_a_choice(backend: Backend) -> None:
    jobs, model, key = backend.jobs, f"flights {uuid4().hex[:8]}", backend.key()
    before = await jobs.buying(model)
    assert before.pricing is Pricing.STANDARD
    if before.offered == (Pricing.STANDARD,):
        with pytest.raises(PermanentError, match="pricing"):
            await jobs.set_buying(model, Pricing.SPOT, expected=Pricing.STANDARD, key=key)
        with pytest.raises(PermanentError, match="pricing"):
            await jobs.submit(key, backend.spec("succeeds", pricing=Pricing.SPOT))
        assert await jobs.set_buying(model, Pricing.STANDARD, expected=Pricing.STANDARD, key=key) == before
        return
    moved = await jobs.set_buying(model, Pricing.SPOT, expected=Pricing.STANDARD, key=key)
    assert moved.pricing is Pricing.SPOT
    assert await jobs.buying(model) == moved
    assert (await jobs.buying(f"another {model}")).pricing is Pricing.STANDARD
    with pytest.raises(Conflict, match="expected"):
        await jobs.set_buying(model, Pricing.SPOT, expected=Pricing.STANDARD, key=f"{key}/b")
    back = await jobs.set_buying(model, Pricing.STANDARD, expected=Pricing.SPOT, key=f"{key}/back")
    # The key has acted: repeating it moves nothing again.
    assert await jobs.set_buying(model, Pricing.SPOT, expected=Pricing.STANDARD, key=key) == back
    with pytest.raises(Conflict, match="key"):
        await jobs.set_buying(model, Pricing.STANDARD, expected=Pricing.SPOT, key=key)
    with pytest.raises(PermanentError, match="committed"):
        await jobs.set_buying(model, Pricing.COMMITTED, expected=Pricing.STANDARD, key=f"{key}/c")


async def test_a_job_tells_how_it_was_bought_and_is_the_same_job_however(backend: Backend) -> None:
    key, spec = backend.key(), backend.spec("waits")
    spot = spec.model_copy(update={"pricing": Pricing.SPOT})
    offered = (await backend.jobs.buying(spec.model)).offered
    first = await backend.jobs.submit(key, spot if Pricing.SPOT in offered else spec)
    assert first.pricing is (Pricing.SPOT if Pricing.SPOT in offered else Pricing.STANDARD)
    again = await backend.jobs.submit(key, spec)
    assert (again.name, again.pricing) == (first.name, first.pricing)
    await backend.jobs.cancel(first.name, reason="the test is over")


async def test_what_a_job_has_left_is_put_aside_and_had_back_where_the_backend_keeps_it(backend: Backend) -> None:
    key, spec = backend.key(), backend.spec("resumes", retries=0)
    name = (await backend.jobs.submit(key, spec)).name
    await ended(backend, name)
    if isinstance(backend.jobs, TwinJobs):
        for kind in ("checkpoints", "logs"):
            at = (await backend.jobs.state(name)).ended_at
            backend.jobs.leave(Leftover(kind=kind, model=spec.model, name=name, size_bytes=9, since=at, seen="x"))
    found = await backend.jobs.leftovers(spec.model)
    assert await backend.jobs.leftovers("another") == ()
    if backend.kind == "kubernetes":
        assert found == ()
        return
    items = {each.kind: each for each in found if each.name == name}
    for item in items.values():
        assert item.size_bytes > 0
        assert item.since == (await backend.jobs.state(name)).ended_at
        first = await backend.jobs.discard(item)
        assert await backend.jobs.discard(item) == first
        assert first.undo_until is not None
        assert item not in await backend.jobs.leftovers(spec.model)
        await backend.jobs.restore(item)
        await backend.jobs.restore(item)
        assert item in await backend.jobs.leftovers(spec.model)
        with pytest.raises(Conflict, match="listed"):
            await backend.jobs.discard(item.model_copy(update={"seen": "another"}))
    assert (await backend.jobs.state(name)).final


async def test_nothing_of_a_job_that_goes_on_is_put_aside(backend: Backend) -> None:
    spec = backend.spec("waits")
    name = (await backend.jobs.submit(backend.key(), spec)).name
    state = await until(backend, name, Phase.RUNNING)
    assert [each for each in await backend.jobs.leftovers(spec.model) if each.name == name] == []
    made_up = Leftover(kind="logs", model=spec.model, name=name, size_bytes=1, since=state.submitted_at, seen="x")
    with pytest.raises(PermanentError):
        await backend.jobs.discard(made_up)
    await backend.jobs.cancel(name, reason="the test is over")
