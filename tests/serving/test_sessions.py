"""Sessions on a real, tiny model: spilled, resumed, restarted, refused."""

import asyncio
import importlib.util
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ContentError
from gooseguard.engine.export import export
from gooseguard.engine.file import read_engine_file
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.scorer import TextScorer
from gooseguard.serving.config import SchedulerConfig, SessionsConfig
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.scheduler import Scheduler
from gooseguard.serving.sessions import Sessions

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model_of_sessions", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

TEXT = "The the thé <slur> oron, 🦢 and moröns. " * 3
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = []
    for seed in (1, 2):
        tiny.write(folder / f"checkpoint-{seed}", tiny.make_model(seed))
        export(folder / f"checkpoint-{seed}", folder / f"{seed}.safetensors", "f32")
        file = read_engine_file(folder / f"{seed}.safetensors")
        # The engine whose states can be kept on disk.
        made.append(TextScorer(file, PortableBackbone(file.model.config.backbone, file.model.backbone)))
    return made


def run(scorer, folder, test, **config):
    """Run a test with sessions in a folder; the state is written to disk at the end, as by a server."""

    async def main():
        scheduler = Scheduler(SchedulerConfig(), 1)
        current = SimpleNamespace(scorer=scorer)
        sessions = Sessions(SessionsConfig(**config), folder, scheduler, lambda: current)
        try:
            return await test(sessions, current)
        finally:
            await scheduler.close()
            sessions.close()

    return asyncio.run(main())


def whole(scorer, text):
    (scores,) = scorer.score([Content.from_text(text)])
    return list(scores.values.values())


def close_to(scores, expected):
    assert np.allclose(list(scores.values.values()), expected, atol=TOLERANCE, rtol=0)


def test_pieces_score_as_the_whole_however_often_the_state_goes_to_disk(scorers, tmp_path):
    async def body(sessions, _):
        session = sessions.open("k", "default")
        for place in range(0, len(TEXT), 7):
            await sessions.append(session, TEXT[place : place + 7])
            await sessions.sweep_once(time.time() + 61)
            assert session.state is None
        assert session.position == len(TEXT)
        close_to(await sessions.finish(session), whole(scorers[0], TEXT))
        assert len(sessions) == 0
        assert list(tmp_path.glob("*.state")) == []

    run(scorers[0], tmp_path, body)


def test_a_state_is_as_large_after_a_long_text_as_after_a_short_one(scorers, tmp_path):
    async def body(sessions, _):
        session, sizes = sessions.open("k", "default"), []
        for n_pieces in (1, 100):
            for _ in range(n_pieces):
                await sessions.append(session, "a piece of a long text. ")
            sizes.append(len(scorers[0].dump(session.state)))
        assert session.position == 101 * 24
        assert sizes[0] == sizes[1]

    run(scorers[0], tmp_path, body)


def test_a_session_survives_a_restart(scorers, tmp_path):
    async def first(sessions, _):
        session = sessions.open("k", "mine")
        await sessions.append(session, TEXT[:30])
        return sessions.handle(session)

    async def second(sessions, _):
        session = sessions.resume(handle, "k")
        assert (session.position, session.policy) == (30, "mine")
        await sessions.append(session, TEXT[30:])
        close_to(await sessions.finish(session), whole(scorers[0], TEXT))

    handle = run(scorers[0], tmp_path, first)
    # State files are for nobody else to read.
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    run(scorers[0], tmp_path, second)


def refused(sessions, handle, key, kind):
    with pytest.raises(Problem) as caught:
        sessions.resume(handle, key)
    assert caught.value.kind is kind
    return str(caught.value)


def test_a_handle_of_another_model_key_or_position_is_refused(scorers, tmp_path):
    async def body(sessions, current):
        session = sessions.open("k", "default")
        old = sessions.handle(session)
        await sessions.append(session, "some text")
        assert "at position 9, the handle at 0" in refused(sessions, old, "k", Kind.CONFLICT)
        new = sessions.handle(session)
        assert sessions.resume(new, "k") is session
        refused(sessions, new, "other", Kind.NOT_FOUND)
        current.scorer = scorers[1]
        assert scorers[1].name in refused(sessions, new, "k", Kind.CONFLICT)
        current.scorer = scorers[0]
        sessions.drop(session)
        refused(sessions, new, "k", Kind.NOT_FOUND)

    run(scorers[0], tmp_path, body)


def test_sessions_expire_in_memory_and_on_disk(scorers, tmp_path):
    async def body(sessions, _):
        session = sessions.open("k", "default")
        await sessions.append(session, "text")
        handle = sessions.handle(session)
        await sessions.sweep_once(time.time() + 200)
        assert len(list(tmp_path.glob("*.state"))) == 1
        await sessions.sweep_once(time.time() + 1001)
        assert len(sessions) == 0
        assert list(tmp_path.glob("*.state")) == []
        refused(sessions, handle, "k", Kind.NOT_FOUND)

    run(scorers[0], tmp_path, body, expiry_s=1000.0)


def test_limits_on_sessions(scorers, tmp_path):
    async def body(sessions, _):
        mine = [sessions.open("k", "default") for _ in range(2)]
        with pytest.raises(Problem) as caught:
            sessions.open("k", "default")
        assert caught.value.kind is Kind.OVERLOADED
        sessions.open("other", "default")
        with pytest.raises(Problem):
            sessions.open("third", "default")
        sessions.drop(mine[0])
        sessions.open("k", "default")

    run(scorers[0], tmp_path, body, max_open=3, max_a_key=2)


def test_a_key_s_limit_counts_what_an_earlier_process_left(scorers, tmp_path):
    async def first(sessions, _):
        mine = [sessions.open("k", "default") for _ in range(2)]
        for session in mine:
            await sessions.append(session, "text")
        return sessions.handle(mine[0])

    async def second(sessions, _):
        with pytest.raises(Problem) as caught:
            sessions.open("k", "default")
        assert caught.value.kind is Kind.OVERLOADED
        sessions.open("other", "default")
        # Taken up, it counts once.
        session = sessions.resume(handle, "k")
        with pytest.raises(Problem):
            sessions.open("k", "default")
        sessions.drop(session)
        sessions.open("k", "default")

    handle = run(scorers[0], tmp_path, first)
    (tmp_path / "damaged.state").write_bytes(b"no header")
    run(scorers[0], tmp_path, second, max_a_key=2)


def test_others_are_served_while_many_states_are_written(scorers, tmp_path):
    async def body(sessions, _):
        opened = [sessions.open("k", "default") for _ in range(4)]
        for session in opened:
            await sessions.append(session, "text")
        seen = []

        async def watch():
            while True:
                seen.append(sessions.n_in_memory)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        await sessions.sweep_once(time.time() + 61)
        watcher.cancel()
        assert {1, 2, 3, 4} <= set(seen)

    run(scorers[0], tmp_path, body)


def test_the_longest_idle_states_leave_memory_first(scorers, tmp_path):
    async def body(sessions, _):
        opened = [sessions.open("k", "default") for _ in range(5)]
        for session in opened:
            await sessions.append(session, "text")
        await sessions.sweep_once(time.time())
        assert [session.state is None for session in opened] == [True, True, True, False, False]
        assert sessions.n_in_memory == 2

    run(scorers[0], tmp_path, body, in_memory=2)


def test_a_text_that_shows_nothing_has_no_scores_in_the_end(scorers, tmp_path):
    async def body(sessions, _):
        session = sessions.open("k", "default")
        scores = await sessions.append(session, "  ")
        assert set(scores.values.values()) == {None}
        with pytest.raises(ContentError):
            await sessions.finish(session)
        assert len(sessions) == 0

    run(scorers[0], tmp_path, body)


def test_a_state_file_that_is_gone_or_damaged_ends_the_session(scorers, tmp_path):
    async def body(sessions, _):
        for damage in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-5])):
            session = sessions.open("k", "default")
            await sessions.append(session, "text")
            await sessions.sweep_once(time.time() + 61)
            damage(next(tmp_path.glob("*.state")))
            with pytest.raises(Exception, match="open a new"):
                await sessions.append(session, "more")
            sessions.drop(session)

    run(scorers[0], tmp_path, body)
